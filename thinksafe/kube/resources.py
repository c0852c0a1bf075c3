"""Where the objects that we use are in the Kubernetes API.

The table replaces discovery, which needs requests without a time limit, a permission that a hardened cluster removes,
and a file in /tmp.
"""

from __future__ import annotations

from typing import NamedTuple


class Resource(NamedTuple):
    """Where objects of one kind are."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return group and version, as an object names them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """Return the plural with its group, as kubectl takes it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


RESOURCES = {
    "Service": Resource("", "v1", "services"),
    "Pod": Resource("", "v1", "pods"),
    "Event": Resource("", "v1", "events"),
    "Secret": Resource("", "v1", "secrets"),
    "ConfigMap": Resource("", "v1", "configmaps"),
    "ServiceAccount": Resource("", "v1", "serviceaccounts"),
    "PersistentVolumeClaim": Resource("", "v1", "persistentvolumeclaims"),
    "ResourceQuota": Resource("", "v1", "resourcequotas"),
    "LimitRange": Resource("", "v1", "limitranges"),
    "Node": Resource("", "v1", "nodes", namespaced=False),
    "Job": Resource("batch", "v1", "jobs"),
    "CronJob": Resource("batch", "v1", "cronjobs"),
    "Deployment": Resource("apps", "v1", "deployments"),
    "StorageClass": Resource("storage.k8s.io", "v1", "storageclasses", namespaced=False),
    "PriorityClass": Resource("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False),
    "RuntimeClass": Resource("node.k8s.io", "v1", "runtimeclasses", namespaced=False),
    "SelfSubjectReview": Resource("authentication.k8s.io", "v1", "selfsubjectreviews", namespaced=False),
    "SelfSubjectAccessReview": Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False),
    "LocalSubjectAccessReview": Resource("authorization.k8s.io", "v1", "localsubjectaccessreviews"),
    "InferenceService": Resource("serving.kserve.io", "v1beta1", "inferenceservices"),
    "LLMInferenceService": Resource("serving.kserve.io", "v1alpha1", "llminferenceservices"),
    "TrainJob": Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
    "TrainingRuntime": Resource("trainer.kubeflow.org", "v1alpha1", "trainingruntimes"),
    "ClusterTrainingRuntime": Resource(
        "trainer.kubeflow.org", "v1alpha1", "clustertrainingruntimes", namespaced=False
    ),
}
