"""The Kubernetes client of rollouts, TrainJobs and the doctor: one class for all of them.

Objects of all kinds are plain dictionaries. Transient failures (no answer, 429, 5xx) are retried for a while;
everything else becomes a StageError that says what to do. Requests are those of ``kubernetes.dynamic``, without its
discovery; see :mod:`thinksafe.kube.resources`.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

from thinksafe.credentials import scrubbed
from thinksafe.errors import ConfigError, StageError
from thinksafe.kube.refusals import explained
from thinksafe.kube.resources import RESOURCES, Resource

MANAGER = "thinksafe"
"""Field manager: it owns the fields that it applied and touches no others."""
RETRY_SECONDS = 60.0
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
WATCH_SECONDS = 60
"""Longest single watch, in seconds; a silently dead connection is noticed after this time."""
LOG_BYTES = 65536
"""Longest log to fetch, in bytes."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_NOT_FOUND, _CONFLICT = 404, 409
_STRICT = ("fieldValidation", "Strict")

Object = dict[str, Any]


class GoneError(Exception):
    """The API no longer has the version from which to resume a watch: read the object again."""


class DroppedError(Exception):
    """A watch ended early or did not start."""


def connect(
    namespace: str, context: str = "", *, section: str, retry_seconds: float = RETRY_SECONDS
) -> KubernetesClient:
    """Return the client for the pod's service account or, outside a pod, for the kubeconfig.

    Args:
        namespace: Namespace of the objects.
        context: Context of the kubeconfig, which is then also used in a pod.
        section: Section of the configuration that errors name.
        retry_seconds: See :class:`KubernetesClient`.

    Raises:
        ConfigError: there is neither.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        if context:
            raise config.ConfigException
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            config.load_kube_config(
                os.environ.get("KUBECONFIG") or None, context=context or None, client_configuration=configuration
            )
        except (config.ConfigException, OSError, ValueError) as error:
            settable = "KUBECONFIG and deploy.context" if section == "deploy" else "KUBECONFIG"
            raise ConfigError(
                "There is no Kubernetes cluster: this is not a pod with a service account token, and no kubeconfig "
                f"{f'with the context {context!r} ' if context else ''}can be loaded.",
                f"Set {settable}, or run this in the cluster.",
            ) from error
    configuration.retries = False  # the loop here is the only one
    return KubernetesClient(client.ApiClient(configuration), namespace, section, retry_seconds)


class KubernetesClient:
    """One namespace of a cluster, and cluster-wide objects.

    Args:
        api: ``kubernetes.client.ApiClient``.
        namespace: Where the objects are.
        section: Section of the configuration that errors name.
        retry_seconds: How long a call without a useful answer is retried.
    """

    def __init__(self, api: Any, namespace: str, section: str, retry_seconds: float = RETRY_SECONDS) -> None:
        from kubernetes.dynamic import DynamicClient

        self._client = DynamicClient(api, discoverer=lambda *_: None)
        self.namespace, self._section, self._seconds = namespace, section, retry_seconds

    def beside(self, namespace: str) -> KubernetesClient:
        """Return a client of the same cluster for another namespace."""
        other = copy.copy(self)
        other.namespace = namespace
        return other

    @property
    def address(self) -> str:
        """Address of the API, without credentials."""
        return scrubbed(str(self._client.configuration.host))

    def apply(self, manifest: Object, *, force: bool) -> Object:
        """Apply the fields of a manifest (server-side) and return the object.

        Args:
            manifest: The fields to own; fields owned before and missing here are released.
            force: Take over fields that others own. Off: such a conflict is an error that names owner and field.

        Raises:
            StageError: a conflict, a refusal, or no answer; see :mod:`thinksafe.kube.refusals`.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        answer: Object = self._parsed("patch", RESOURCES[kind], name, lambda: self._client.server_side_apply(
            self._resource(kind), manifest, namespace=self.namespace, field_manager=MANAGER,
            force_conflicts=str(force).lower(), query_params=[_STRICT], **_options(),
        ))
        return answer

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None if there is none; needs the permission ``get``. Raises StageError."""
        found: Object | None = self._parsed("get", RESOURCES[kind], name, lambda: self._client.get(
            self._resource(kind), name, self.namespace, **_options()
        ), none_on=_NOT_FOUND)
        return found

    def look(self, kind: str, name: str) -> tuple[Object | None, str]:
        """Return an object, or None, and the version of the list from which to watch; needs the permission ``list``.

        Raises:
            StageError: the API refused, or did not answer.
        """
        found = self._listed(kind, field_selector=f"metadata.name={name}")
        items = found.get("items") or []
        return (items[0] if items else None), str(found.get("metadata", {}).get("resourceVersion", ""))

    def find(self, kind: str, labels: dict[str, str] | None = None) -> list[Object]:
        """Return the objects of a kind that have these labels. Raises StageError."""
        chosen = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        return list(self._listed(kind, label_selector=chosen or None).get("items") or [])

    def create(self, manifest: Object, *, dry_run: bool = False) -> bool:
        """Create an object, or only try it, and return whether it could be: False if the name exists.

        Raises:
            StageError: the API refused, or did not answer.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        query = [_STRICT, *([("dryRun", "All")] if dry_run else [])]
        made = self._parsed("create", RESOURCES[kind], name, lambda: self._client.create(
            self._resource(kind), manifest, self.namespace, field_manager=MANAGER, query_params=query, **_options()
        ), none_on=_CONFLICT)
        return made is not None

    def post(self, kind: str, manifest: Object) -> Object:
        """Post an object without a name, an event or an access review, and return the answer. Raises StageError."""
        resource = RESOURCES[kind]
        body = {"apiVersion": resource.api_version, "kind": kind, **manifest}
        answer: Object = self._parsed("create", resource, "", lambda: self._client.create(
            self._resource(kind), body, self.namespace, **_options()
        ))
        return answer

    def delete(self, kind: str, name: str) -> None:
        """Delete an object, after everything that belongs to it; a missing object is not an error.

        Raises:
            StageError: the API refused, or did not answer.
        """
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        self._parsed("delete", RESOURCES[kind], name, lambda: self._client.delete(
            self._resource(kind), name, self.namespace, body=options, **_options()
        ), none_on=_NOT_FOUND)

    def logs(self, pod: str, container: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines of a container's log, or of its log before the last restart. Raises StageError."""
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", str(LOG_BYTES))]
        query += [("previous", "true")] if previous else []
        path = self._resource("Pod").path(pod, self.namespace) + "/log"
        data: bytes = self._answered(
            "get", RESOURCES["Pod"], f"{pod}/log",
            lambda: self._client.request("get", path, query_params=[*query], **_options()), bytes,
        )
        return data.decode("utf-8", "replace")

    def plurals(self, group: str, version: str) -> set[str]:
        """Return the plurals of the kinds of an API group; none if the cluster does not have it.

        Raises:
            StageError: the API refused, or did not answer.
        """
        of = Resource(group, version, "resources", namespaced=False)
        found = self._parsed("get", of, "", lambda: self._client.request(
            "get", f"/apis/{group}/{version}", **_options()
        ), none_on=_NOT_FOUND)
        return {str(item["name"]) for item in (found or {}).get("resources") or []}

    def watch(self, kind: str, name: str, version: str, seconds: float) -> Iterator[Object]:
        """Yield the object as it changes after a version; no change is lost between two watches.

        Ends after ``seconds`` at the latest.

        Raises:
            GoneError: the version is too old.
            DroppedError: the connection broke, or the API did not answer.
            StageError: the API refused.
        """
        from kubernetes.client import ApiException
        from kubernetes.watch.watch import iter_resp_lines
        from urllib3.exceptions import HTTPError

        limit = max(1, min(WATCH_SECONDS, int(seconds)))
        try:
            # not with the library's Watch, which fails on an error event without a reason
            response = self._client.get(
                self._resource(kind), namespace=self.namespace, field_selector=f"metadata.name={name}",
                resource_version=version, timeout_seconds=limit, watch="true",
                query_params=[("allowWatchBookmarks", "true")], **_options(limit + 5.0),
            )
            with closing(response):
                for line in iter_resp_lines(response):
                    if line.strip():
                        yield from _changes(json.loads(line))
        except ApiException as error:
            if error.status == 410:
                raise GoneError from error
            if error.status in _PASSING or not error.status:
                raise DroppedError from error
            raise explained(error, "watch", RESOURCES[kind], name, self.namespace, self._section) from error
        except (HTTPError, OSError, ValueError) as error:  # ValueError: a line that was cut short
            raise DroppedError from error

    def _listed(self, kind: str, **selector: str | None) -> Object:
        found: Object = self._parsed("list", RESOURCES[kind], "", lambda: self._client.get(
            self._resource(kind), namespace=self.namespace, **selector, **_options()
        ))
        return found

    def _resource(self, kind: str) -> Any:
        from kubernetes.dynamic import Resource as Place

        group, version, plural, namespaced = RESOURCES[kind]
        return Place(
            prefix="apis" if group else "api", group=group, api_version=version, kind=kind, name=plural,
            namespaced=namespaced, client=self._client,
        )

    def _parsed(
        self, verb: str, resource: Resource, name: str, request: Callable[[], Any], none_on: int = 0
    ) -> Any:
        return self._answered(verb, resource, name, request, json.loads, none_on)

    def _answered(
        self, verb: str, resource: Resource, name: str, request: Callable[[], Any], read: Callable[[bytes], Any],
        none_on: int = 0,
    ) -> Any:
        """Return the answer to a request, None for the HTTP status ``none_on``. Raises StageError."""
        import tenacity
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        def passing(error: BaseException) -> bool:
            if isinstance(error, ApiException):
                return not error.status or error.status in _PASSING
            return isinstance(error, HTTPError | OSError | ValueError)  # ValueError: an answer that was cut short

        try:
            return tenacity.Retrying(
                retry=tenacity.retry_if_exception(passing), reraise=True,
                wait=tenacity.wait_random_exponential(multiplier=0.25, max=5.0),
                stop=tenacity.stop_after_delay(self._seconds),
            )(lambda: read(request().data))
        except ApiException as error:
            if none_on and error.status == none_on:
                return None
            raise explained(error, verb, resource, name, self.namespace, self._section) from error
        except (HTTPError, OSError, ValueError) as error:
            raise StageError(
                f"The Kubernetes API at {self._client.configuration.host} does not answer ({type(error).__name__}).",
                "Check KUBECONFIG, the network and the VPN, and try again; anything already applied is detected.",
            ) from error


def _options(seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    """Return the options of every request: time limits, and the raw answer."""
    return {"_request_timeout": (CONNECT_SECONDS, seconds), "serialize": False}


def _changes(event: Any) -> Iterator[Object]:
    kind, found = event.get("type"), event.get("object") or {}
    if kind == "ERROR":
        raise GoneError if found.get("code") == 410 else DroppedError
    if kind in ("ADDED", "MODIFIED"):
        yield found
    elif kind == "DELETED":
        yield {**found, "status": {}, "deleted": True}
    elif kind == "BOOKMARK":
        with suppress(KeyError):
            yield {"bookmark": found["metadata"]["resourceVersion"]}
