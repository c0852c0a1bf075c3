"""Permissions in Kubernetes, by access reviews: the API server says what its roles allow."""

from __future__ import annotations

from thinksafe.kube.client import KubernetesClient


def may(api: KubernetesClient, verb: str, resource: str, group: str, namespace: str) -> bool:
    """Return whether this account may do something, by a SelfSubjectAccessReview. Raises StageError."""
    attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
    answer = api.post("SelfSubjectAccessReview", {"spec": {"resourceAttributes": attributes}})
    return bool(answer["status"]["allowed"])


def account_may(api: KubernetesClient, account: str, verb: str, resource: str, group: str) -> bool:
    """Return whether a service account of the namespace may do something, by a LocalSubjectAccessReview.

    Raises:
        ForbiddenError: this account may not ask.
        StageError: the API refused, or did not answer.
    """
    plural, _, part = resource.partition("/")
    attributes = {"verb": verb, "resource": plural, "group": group, "namespace": api.namespace}
    answer = api.post("LocalSubjectAccessReview", {"spec": {
        "user": f"system:serviceaccount:{api.namespace}:{account}",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{api.namespace}", "system:authenticated"],
        "resourceAttributes": {**attributes, **({"subresource": part} if part else {})},
    }})
    return bool(answer["status"]["allowed"])
