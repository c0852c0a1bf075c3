"""Kubernetes, as the doctor asks it: every call has a time limit, and a refusal is a value."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from thinksafe.errors import StageError

TIMEOUT = (5, 10)
"""Seconds to connect, and to wait for the next piece of an answer."""


class Forbidden(Exception):
    """The API does not let us read this."""


class Absent(Exception):
    """The API says that there is no such thing."""


class Cluster:
    """The Kubernetes API: from inside a pod, else by the kubeconfig.

    Raises:
        StageError: there is neither.
    """

    def __init__(self, namespace: str) -> None:
        from kubernetes import client, config

        self.namespace = namespace
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            try:
                config.load_kube_config(os.environ.get("KUBECONFIG") or None, client_configuration=configuration)
            except (config.ConfigException, OSError) as error:
                raise StageError(
                    "There is no access to Kubernetes: neither a pod's service account nor a kubeconfig.",
                    "Set KUBECONFIG, or run the doctor in the cluster (`helm test`).",
                ) from error
        configuration.retries = 1
        self.host = str(configuration.host)
        api = client.ApiClient(configuration)
        self._core, self._storage = client.CoreV1Api(api), client.StorageV1Api(api)
        self._scheduling, self._node = client.SchedulingV1Api(api), client.NodeV1Api(api)
        self._access, self._models = client.AuthorizationV1Api(api), client
        self._custom = client.CustomObjectsApi(api)

    def secret(self, name: str) -> Any:
        """Return a Secret of the namespace. Raises Absent, Forbidden or StageError, as all methods do."""
        return self._ask(self._core.read_namespaced_secret, name, self.namespace)

    def config_map(self, name: str) -> Any:
        """Return a ConfigMap of the namespace."""
        return self._ask(self._core.read_namespaced_config_map, name, self.namespace)

    def service_account(self, name: str) -> Any:
        """Return a ServiceAccount of the namespace."""
        return self._ask(self._core.read_namespaced_service_account, name, self.namespace)

    def claim(self, name: str) -> Any:
        """Return a PersistentVolumeClaim of the namespace."""
        return self._ask(self._core.read_namespaced_persistent_volume_claim, name, self.namespace)

    def nodes(self) -> list[Any]:
        """Return all nodes."""
        return list(self._ask(self._core.list_node).items)

    def storage_classes(self) -> list[Any]:
        """Return all storage classes."""
        return list(self._ask(self._storage.list_storage_class).items)

    def priority_class(self, name: str) -> Any:
        """Return a PriorityClass."""
        return self._ask(self._scheduling.read_priority_class, name)

    def runtime_class(self, name: str) -> Any:
        """Return a RuntimeClass."""
        return self._ask(self._node.read_runtime_class, name)

    def kinds(self, group: str, version: str) -> set[str]:
        """Return the plurals of the kinds of an API group. Raises Absent where there is none."""
        return {item.name for item in self._ask(self._custom.get_api_resources, group, version).resources}

    def custom(self, group: str, version: str, plural: str, name: str, *, everywhere: bool) -> dict[str, Any]:
        """Return an object of the namespace, or one of the whole cluster, of a kind that Kubernetes does not know."""
        if everywhere:
            found = self._ask(self._custom.get_cluster_custom_object, group, version, plural, name)
        else:
            found = self._ask(
                self._custom.get_namespaced_custom_object, group, version, self.namespace, plural, name
            )
        return dict(found)

    def account_may(self, account: str, verb: str, resource: str, group: str) -> bool:
        """Return whether a service account of the namespace may do something, by a LocalSubjectAccessReview."""
        attributes = self._models.V1ResourceAttributes(
            verb=verb, resource=resource.partition("/")[0], subresource=resource.partition("/")[2] or None,
            group=group, namespace=self.namespace,
        )
        review = self._models.V1LocalSubjectAccessReview(
            spec=self._models.V1SubjectAccessReviewSpec(
                user=f"system:serviceaccount:{self.namespace}:{account}",
                groups=[
                    "system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated",
                ],
                resource_attributes=attributes,
            )
        )
        ask = self._access.create_namespaced_local_subject_access_review
        return bool(self._ask(ask, self.namespace, review).status.allowed)

    def may(self, verb: str, resource: str, group: str = "", namespace: str = "", name: str = "") -> bool:
        """Return whether we may do something, by a SelfSubjectAccessReview.

        A role can give a right to objects of certain names only (``resourceNames``); without the name it counts as
        lacking.
        """
        attributes = self._models.V1ResourceAttributes(
            verb=verb, resource=resource, group=group, namespace=namespace, name=name or None
        )
        review = self._models.V1SelfSubjectAccessReview(
            spec=self._models.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        )
        return bool(self._ask(self._access.create_self_subject_access_review, review).status.allowed)

    def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*arguments, _request_timeout=TIMEOUT)
        except ApiException as error:
            if error.status == 404:
                raise Absent from error
            if error.status == 403:
                raise Forbidden from error
            raise StageError(
                f"Kubernetes at {self.host} answered {error.status} ({error.reason}).",
                "Log in again; the kubeconfig's credentials may have expired." if error.status == 401
                else "Try again; then check the API server.",
            ) from error
        except (HTTPError, OSError) as error:
            raise StageError(
                f"Kubernetes at {self.host} cannot be reached ({type(error).__name__}).",
                "Check KUBECONFIG, the network and the VPN.",
            ) from error
