"""Reach the API of Kubeflow Pipelines: from a pod, with a token, or through the Kubernetes API."""

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from thinksafe.config.cluster_services import KfpSettings
from thinksafe.errors import ConfigError, StageError

CONNECT_S, READ_S = 5.0, 30.0
TOKEN_VARIABLE = "KFP_TOKEN"  # noqa: S105 - a name
"""Seconds that one request may take to connect, and between two pieces of its answer."""
_POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path


class Place(Protocol):
    """What it takes to reach Kubeflow Pipelines, of the section ``cluster``."""

    @property
    def namespace(self) -> str:
        """Where the pods of runs live."""

    @property
    def kfp(self) -> KfpSettings:
        """Where the API is."""


def connect(cluster: Place) -> Any:
    """Return KFP's client for a cluster; it asks nothing of the server yet, except through a kubeconfig.

    Raises:
        ConfigError: the token or the certificates are missing, or no kubeconfig is found.
        StageError: the server cannot be reached through the kubeconfig.
    """
    settings = cluster.kfp
    with warnings.catch_warnings(), speaking(cluster):
        warnings.simplefilter("ignore")
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

        if settings.host or settings.access != "port-forward":
            _require_certificates(settings.ca_file)
        options: dict[str, Any] = {"ssl_ca_cert": settings.ca_file or None}
        if settings.access == "token":
            options["existing_token"] = _token(cluster)
        elif settings.access == "in-cluster":
            pod_token = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", _POD_TOKEN)
            if Path(pod_token).is_file():
                options["credentials"] = ServiceAccountTokenVolumeCredentials(path=pod_token)
        host = settings.host
        if not host and settings.access != "port-forward":
            host = f"http://ml-pipeline.{settings.namespace}.svc.cluster.local:8888"
        if not host:
            _require_kubeconfig()
        namespace = cluster.namespace if host else settings.namespace
        client = _client_class()(host=host or None, namespace=namespace, **options)
    client._context_setting["namespace"] = cluster.namespace if settings.multi_user else ""
    if not host:
        _keep_address(client._existing_config)
    _limit_time(client)
    return client


def _client_class() -> Any:
    """Return KFP's client, which as it comes asks a server that it reaches by a kubeconfig whether it has users.

    It does so without a time limit, five times, and logs tracebacks on the way; the configuration knows.
    """
    from kfp import Client
    from kfp_server_api import V2beta1GetHealthzResponse

    class QuietClient(Client):
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            return V2beta1GetHealthzResponse(multi_user=False)

    return QuietClient


def _keep_address(configuration: Any) -> None:
    """Keep the path of the service's proxy: what refreshes a kubeconfig's token writes address and itself anew."""
    refresh, address = configuration.refresh_api_key_hook, configuration.host
    if refresh is None:
        return

    def refreshed(of: Any) -> None:
        refresh(of)
        of.host, of.refresh_api_key_hook = address, refreshed

    configuration.refresh_api_key_hook = refreshed


def user_namespace(cluster: Place) -> str | None:
    """Return the namespace that pipelines and experiments belong to; None without multi-user mode."""
    return cluster.namespace if cluster.kfp.multi_user else None


@contextmanager
def speaking(cluster: Place) -> Iterator[None]:
    """Turn the errors of KFP's client into ones that say what to do, and keep its own words off the terminal."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    where = cluster.kfp.host or f"the service ml-pipeline in {cluster.kfp.namespace}"
    try:
        with redirect_stdout(StringIO()):
            yield
    except ApiException as error:
        status = int(error.status or 0)
        raise StageError(
            f"Kubeflow Pipelines at {where} answered {status} ({_reason(error)}).", _action(status, cluster)
        ) from error
    except (HTTPError, OSError) as error:
        raise StageError(
            f"Kubeflow Pipelines at {where} cannot be reached ({type(error).__name__}).",
            "Check cluster.kfp.host and cluster.kfp.namespace, the network policy, and that the server runs "
            f"(`kubectl -n NAMESPACE get deploy ml-pipeline`).{_outside(cluster)}",
        ) from error


def _outside(cluster: Place) -> str:
    """Return further advice where only pods can resolve the address; empty in a pod or where another way is set."""
    if cluster.kfp.host or cluster.kfp.access == "port-forward" or os.environ.get("KUBERNETES_SERVICE_HOST"):
        return ""
    return " Outside of a pod: --set cluster.kfp.access=port-forward."


def _reason(error: Any) -> str:
    """Return the server's own words for a refusal, at most 200 characters of them, else HTTP's.

    Of a token that is wrong they might show something.
    """
    try:
        words = json.loads(error.body)["message"] if error.status != 401 else ""
    except (TypeError, ValueError, KeyError):
        words = ""
    short = " ".join(words.split())[:200] if isinstance(words, str) else ""
    return short if short.isprintable() and short else str(error.reason)


def _action(status: int, cluster: Place) -> str:
    if cluster.kfp.access == "port-forward" and not cluster.kfp.host:
        if status == 401:
            return "Log in again; the kubeconfig's credentials may have expired."
        if status == 403:
            return (
                "Give the kubeconfig's user the right to get, create and delete services/proxy in "
                f"{cluster.kfp.namespace}, or run `kubectl port-forward` and set cluster.kfp.host to its address; in "
                "multi-user mode give a token."
            )
        if status in (404, 503):
            return "Check cluster.kfp.namespace, and that ml-pipeline runs there (`kubectl -n NAMESPACE get pods`)."
    if status in (401, 403):
        return (
            "Give a token that is valid (cluster.kfp.access and KFP_TOKEN), and in multi-user mode the right to use "
            "pipelines in cluster.namespace (role kubeflow-pipelines-edit)."
        )
    if status == 404:
        return "Check cluster.kfp.host: it has to be the address under which /apis/v2beta1 answers."
    if status == 409:
        return "Another pipeline or experiment has this name, perhaps in other letters: change cluster.kfp."
    if status >= 500:
        return "Look at the log of ml-pipeline, and start the same command again."
    return "Check cluster.kfp.multi_user and the names in cluster.kfp; the log of ml-pipeline says more."


def _require_kubeconfig() -> None:
    from kubernetes.config import ConfigException, list_kube_config_contexts

    try:
        list_kube_config_contexts(os.environ.get("KUBECONFIG") or None)
    except (ConfigException, OSError) as error:
        raise ConfigError(
            "There is no kubeconfig to reach Kubeflow Pipelines by.",
            "Set KUBECONFIG, or run `kubectl port-forward` and set cluster.kfp.host to its address.",
        ) from error


def _require_certificates(path: str) -> None:
    try:
        if path:
            Path(path).open("rb").close()
    except OSError as error:
        raise ConfigError(
            f"Cannot read {path}, the certificates of Kubeflow's authority: {error.strerror}.",
            "Check cluster.kfp.ca_file; outside of the chart's pods, --set cluster.kfp.ca_file=FILE.",
        ) from error


def _token(cluster: Place) -> str:
    settings = cluster.kfp
    try:
        token = Path(settings.token_file).read_text("utf-8") if settings.token_file else ""
    except OSError as error:
        raise ConfigError(
            f"Cannot read {settings.token_file}: {error.strerror}.", "Check cluster.kfp.token_file."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{settings.token_file} holds no text.", "Check cluster.kfp.token_file.") from error
    where, token = settings.token_file, token.strip()
    if not token:
        where, token = TOKEN_VARIABLE, os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        empty = f" and {settings.token_file} is empty" if settings.token_file else ""
        raise ConfigError(
            f"There is no token for Kubeflow Pipelines: {TOKEN_VARIABLE} is not set{empty}.",
            f"Set {TOKEN_VARIABLE}, or cluster.kfp.token_file; with the chart, the secret that kfpToken names.",
        )
    if not (token.isascii() and token.isprintable()):  # no header may hold it, and the error of one would show it
        raise ConfigError(
            f"What {where} holds is no token: it has several lines, or characters that no token has.",
            "Give the token alone.",
        )
    return token


def _limit_time(client: Any) -> None:
    rest = client._pipelines_api.api_client.rest_client
    ask = rest.request

    def limited(*arguments: Any, **options: Any) -> Any:
        return ask(*arguments, **{**options, "_request_timeout": (CONNECT_S, READ_S)})

    rest.request = limited


def ask_whether_multi_user(cluster: Place) -> bool:
    """Return whether the server is in multi-user mode. Raises ConfigError and StageError, see :func:`connect`."""
    client = connect(cluster)
    with speaking(cluster):
        return bool(client._healthz_api.healthz_service_get_healthz().multi_user)


def list_one_pipeline(cluster: Place) -> None:
    """List a page of pipelines, to see that we may. Raises ConfigError and StageError, see :func:`connect`."""
    client = connect(cluster)
    with speaking(cluster):
        client.list_pipelines(namespace=user_namespace(cluster), page_size=1)
