"""The Kubernetes API, as far as a rollout or a TrainJob needs it: apply, create, read, watch, delete, logs, events.

Objects are plain dictionaries, whatever their kind. What passes by waiting (no answer, 429, 5xx) is tried again for a
while; everything else becomes a StageError that says what to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

from thinksafe.config.deploy import DeploySettings
from thinksafe.errors import ConfigError, StageError
from thinksafe.kube.refusals import explained

MANAGER = "thinksafe"
"""Field manager: what it applied it owns, and it touches nothing else."""
RETRY_SECONDS = 60.0
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
WATCH_SECONDS = 60
"""Longest single watch; a connection that died without a word is noticed after that."""
LOG_BYTES = 65536
"""Longest log that is fetched."""
APPLY = "application/apply-patch+yaml"
_PASSING = frozenset({408, 429, 500, 502, 503, 504})

Object = dict[str, Any]


class Resource(NamedTuple):
    """Where objects of a kind live in the API."""

    group: str
    version: str
    plural: str


RESOURCES = {
    "Service": Resource("", "v1", "services"),
    "Pod": Resource("", "v1", "pods"),
    "Event": Resource("", "v1", "events"),
    "Deployment": Resource("apps", "v1", "deployments"),
    "InferenceService": Resource("serving.kserve.io", "v1beta1", "inferenceservices"),
    "LLMInferenceService": Resource("serving.kserve.io", "v1alpha1", "llminferenceservices"),
    "TrainJob": Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs"),
}


class GoneError(Exception):
    """The API no longer knows the version from which a watch was to go on: look at the object again."""


class DroppedError(Exception):
    """A watch ended before its time, or did not begin."""


def connect(settings: DeploySettings, *, retry_seconds: float = RETRY_SECONDS) -> Cluster:
    """Return the cluster that a rollout goes to; see :func:`connect_to`."""
    return connect_to(settings.namespace, settings.context, retry_seconds=retry_seconds)


def connect_to(
    namespace: str, context: str = "", *, section: str = "deploy", retry_seconds: float = RETRY_SECONDS
) -> Cluster:
    """Return the cluster of the pod's service account, or outside a pod that of the kubeconfig.

    Args:
        namespace: Where the objects are.
        context: Of the kubeconfig, which then is taken in a pod, too.
        section: Section of the configuration that errors name.
        retry_seconds: See :class:`Cluster`.

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
            config.load_kube_config(context=context or None, client_configuration=configuration)
        except (config.ConfigException, OSError, ValueError) as error:
            settable = "KUBECONFIG and deploy.context" if section == "deploy" else "KUBECONFIG"
            raise ConfigError(
                "There is no Kubernetes cluster: this is not a pod with a service account token, and no kubeconfig "
                f"{f'with the context {context!r} ' if context else ''}can be loaded.",
                f"Set {settable}, or run the stage in the cluster.",
            ) from error
    configuration.retries = False  # the loop here is the only one
    return Cluster(client.ApiClient(configuration), namespace, retry_seconds, section)


class Cluster:
    """One namespace of a cluster.

    Args:
        api: ``kubernetes.client.ApiClient``.
        namespace: Where the objects are.
        retry_seconds: How long a call that gets no useful answer is made again.
        section: Section of the configuration that errors name.
    """

    def __init__(
        self, api: Any, namespace: str, retry_seconds: float = RETRY_SECONDS, section: str = "deploy"
    ) -> None:
        self._api, self.namespace, self._seconds, self._section = api, namespace, retry_seconds, section

    def apply(self, manifest: Object, *, force: bool) -> Object:
        """Apply the fields of a manifest (server-side) and return the object.

        Args:
            manifest: Holds the fields to own; fields that were owned and are missing here are given up.
            force: Take fields over that others own. Off: such a conflict is an error that names owner and field.

        Raises:
            StageError: a conflict, a refusal, or no answer; see :mod:`thinksafe.kube.refusals`.
        """
        query = [("fieldManager", MANAGER), ("force", "true" if force else "false"), ("fieldValidation", "Strict")]
        return self._call("patch", manifest["kind"], manifest["metadata"]["name"], "PATCH", query, manifest, APPLY)

    def read(self, kind: str, name: str) -> Object | None:
        """Return an object, or None when there is none. Raises StageError."""
        found, _ = self.look(kind, name)
        return found

    def look(self, kind: str, name: str) -> tuple[Object | None, str]:
        """Return an object, or None, and the version of the list from which to watch on. Raises StageError."""
        found = self._call("list", kind, "", "GET", [("fieldSelector", f"metadata.name={name}")])
        items = found.get("items") or []
        return (items[0] if items else None), str(found.get("metadata", {}).get("resourceVersion", ""))

    def pods(self, labels: dict[str, str]) -> list[Object]:
        """Return the pods with these labels. Raises StageError."""
        return self.labelled("Pod", labels)

    def labelled(self, kind: str, labels: dict[str, str]) -> list[Object]:
        """Return the objects of a kind with these labels. Raises StageError."""
        chosen = ",".join(f"{key}={value}" for key, value in labels.items())
        return list(self._call("list", kind, "", "GET", [("labelSelector", chosen)]).get("items") or [])

    def create(self, manifest: Object) -> bool:
        """Make an object and return whether it was made: not where one of this name is there. Raises StageError."""
        query = [("fieldManager", MANAGER), ("fieldValidation", "Strict")]
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        try:
            self._call("create", kind, "", "POST", query, manifest, named=name)
        except StageError as error:
            if getattr(error.__cause__, "status", None) == 409:
                return False
            raise
        return True

    def delete(self, kind: str, name: str) -> None:
        """Delete an object, which stays until what belongs to it is gone; one that is not there is no error.

        Raises:
            StageError: the API refused, or did not answer.
        """
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        try:
            self._call("delete", kind, name, "DELETE", [], options)
        except StageError as error:
            if getattr(error.__cause__, "status", None) != 404:
                raise

    def logs(self, pod: str, container: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines of a container's log, or of the log before it was started again. Raises StageError."""
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", str(LOG_BYTES))]
        query += [("previous", "true")] if previous else []
        data: bytes = self._answered("get", "Pod", f"{pod}/log", "GET", query)
        return data.decode("utf-8", "replace")

    def watch(self, kind: str, name: str, version: str, seconds: float) -> Iterator[Object]:
        """Yield the object as it changes after a version; None of its changes is lost between two watches.

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
        query = [
            ("watch", "true"), ("fieldSelector", f"metadata.name={name}"), ("resourceVersion", version),
            ("timeoutSeconds", str(limit)), ("allowWatchBookmarks", "true"),
        ]
        try:
            response = self._request(kind, "", "GET", query, None, "application/json", limit + 5.0)
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

    def create_event(self, event: Object) -> None:
        """Write an event. Raises StageError."""
        self._call("create", "Event", "", "POST", [], event)

    def _call(
        self, verb: str, kind: str, name: str, method: str, query: list[tuple[str, str]], body: Object | None = None,
        content: str = "application/json", named: str = "",
    ) -> Object:
        def parsed(data: bytes) -> Object:
            found: Object = json.loads(data)
            return found

        answer: Object = self._answered(verb, kind, name, method, query, body, content, parsed, named)
        return answer

    def _answered(
        self, verb: str, kind: str, name: str, method: str, query: list[tuple[str, str]], body: Object | None = None,
        content: str = "application/json", read: Callable[[bytes], Any] = bytes, named: str = "",
    ) -> Any:
        import tenacity
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        def attempt() -> Any:
            return read(self._request(kind, name, method, query, body, content, ANSWER_SECONDS).data)

        def passing(error: BaseException) -> bool:
            if isinstance(error, ApiException):
                return not error.status or error.status in _PASSING
            return isinstance(error, HTTPError | OSError | ValueError)  # ValueError: an answer that was cut short

        try:
            return tenacity.Retrying(
                retry=tenacity.retry_if_exception(passing), reraise=True,
                wait=tenacity.wait_random_exponential(multiplier=0.25, max=5.0),
                stop=tenacity.stop_after_delay(self._seconds),
            )(attempt)
        except ApiException as error:
            raise explained(error, verb, RESOURCES[kind], name or named, self.namespace, self._section) from error
        except (HTTPError, OSError, ValueError) as error:
            raise StageError(
                f"The Kubernetes API at {self._api.configuration.host} does not answer ({type(error).__name__}).",
                "Check the network, and start the same stage again; what was applied is found.",
            ) from error

    def _request(
        self, kind: str, name: str, method: str, query: list[tuple[str, str]], body: Object | None, content: str,
        seconds: float,
    ) -> Any:
        group, version, plural = RESOURCES[kind]
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        path = f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")
        return self._api.call_api(
            path, method, query_params=query, body=body, auth_settings=["BearerToken"],
            header_params={"Accept": "application/json", "Content-Type": content},
            _preload_content=False, _return_http_data_only=True, _request_timeout=(CONNECT_SECONDS, seconds),
        )


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
