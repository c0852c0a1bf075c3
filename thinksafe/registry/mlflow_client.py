"""One way to reach MLflow: quiet, bounded in time, and with errors that say what to do.

Only ``MlflowClient`` is used, never the fluent interface with its global run. MLflow is imported on the first
:func:`connect`, after the environment that its import reads has been set.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from thinksafe.credentials import scrubbed, shown
from thinksafe.deadlines import Bounded, within
from thinksafe.digests import digest_bytes
from thinksafe.errors import ConfigError, StageError, ThinkSafeError
from thinksafe.registry.mlflow_sqlite import create_database
from thinksafe.store.s3_errors import TOO_LARGE

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
TIMEOUT_VARIABLE = "MLFLOW_HTTP_REQUEST_TIMEOUT"
LIMIT = 15.0
"""Time limit of one call, in seconds, including retries, several addresses of the server and slow answers."""
ENVIRONMENT = {
    # Two attempts of 7 s: if the server has one address, the library's own error comes first.
    TIMEOUT_VARIABLE: "7",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # for uploads past the server: many stores reject the trailing checksums that newer SDKs send by default
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
"""Defaults; the user's settings take precedence, within LIMIT."""
SLOWEST = 1 << 20
"""Assumed upload rate in bytes per second: a proxying server answers only when its own store has the file."""
CREATE_SECONDS = 180.0
"""Seconds in which MLflow makes its tables in an empty database server."""
MAX_MESSAGE = 300
_UNREACHABLE = "Check that the server is up and reachable from here, then start the same command again."
_REFUSALS = (
    (
        "Invalid Host header",
        "Start the server with {host} and {host}:* in its --allowed-hosts; the list replaces MLflow's own.",
    ),
    (
        r"error code 401|\b401 Client Error|Unauthorized",
        "Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (they win over a token).",
    ),
    (
        r"error code 403|\b403 Client Error|PERMISSION_DENIED",
        "Give this user or token access to the experiment and the registered model.",
    ),
    (r"error code 413|\b413 Client Error|\(413\)|Entity Too Large|Content Too Large|EntityTooLarge", TOO_LARGE),
)
"""Patterns of answers that only another setting changes, and the hints for them."""
_HINTS = (
    (
        r"checksum|content-?sha256|(Invalid|Bad)Digest|aws-chunked|STREAMING-|MissingContentLength|\(NotImplemented\)",
        (
            "This server's object store does not know the newer checksums: set AWS_REQUEST_CHECKSUM_CALCULATION and "
            "AWS_RESPONSE_CHECKSUM_VALIDATION to when_required."
        ),
    ),
    (
        "too many 5[0-9][0-9] error|error code 5[0-9][0-9]|5[0-9][0-9] Server Error|INTERNAL_ERROR",
        "The server fails; see its log (often its database or artifact store is down), then start the command again.",
    ),
    (
        "NoCredentials|Unable to locate credentials|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied",
        "This server leaves uploads to its clients: set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL.",
    ),
    (
        "EndpointConnectionError|Could not connect to the endpoint URL|NoSuchBucket",
        "This server leaves uploads to its clients: check the bucket, AWS_ENDPOINT_URL and MLFLOW_S3_ENDPOINT_URL.",
    ),
    ("No space left|disk is full", "Free disk space, then start the same command again."),
    ("database is locked", "Another process holds the database; start the same command again."),
    ("out-of-date database schema", "Back the database up, then run `mlflow db upgrade` on it."),
    ("No module named 'psycopg2'", "Install psycopg2-binary."),
    ("Expecting value|<html|<!doctype", "Something else answers at this address; check it, and any login before it."),
)


def resolve_tracking_uri(configured: str) -> str:
    """Return the tracking URI: the configured one, or MLFLOW_TRACKING_URI; SQLite paths are made absolute.

    Raises:
        ConfigError: neither is set, or it is a plain path (MLflow 3 no longer keeps runs in folders).
    """
    uri = configured or os.environ.get(URI_VARIABLE, "")
    if not uri:
        raise ConfigError(
            "No MLflow server is named.", f"Set registry.tracking_uri in the config, or {URI_VARIABLE}."
        )
    if "://" not in uri or uri.startswith("file:"):
        raise ConfigError(
            f"The MLflow tracking URI {shown(uri)!r} is not a server or database.",
            "Use http(s)://..., sqlite:////absolute/path.db or postgresql+psycopg2://...",
        )
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """Return the absolute path of a SQLite database, or None for another server."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?", 1)[0]).absolute()


def connect(uri: str) -> MlflowClient:
    """Return a client of a server that answered, creating a SQLite database that does not exist.

    Each call of the client ends within :data:`LIMIT` seconds, and after one unanswered call the next ones fail at once
    (:class:`thinksafe.deadlines.Bounded`).

    Args:
        uri: From :func:`resolve_tracking_uri`.

    Raises:
        ConfigError: the server refused, see :func:`reporting`.
        StageError: it did not answer within LIMIT seconds, or failed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    # Also where MLflow was imported earlier: its table creation and urllib3's retries are noise.
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(name).setLevel(level)
    with reporting(uri, "connect"):
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            create_database(path)
        served = uri.startswith("http")
        if path is None and not served:
            within(LIMIT, _knock, uri)
        client = within(LIMIT if served else CREATE_SECONDS, MlflowClient, tracking_uri=uri, registry_uri=uri)
        bounded = cast("MlflowClient", Bounded(client, LIMIT))
        bounded.search_experiments(max_results=1)
    return bounded


@contextmanager
def reporting(uri: str, doing: str) -> Iterator[None]:
    """Turn errors of MLflow and the libraries below it into ours, with a corrective action.

    Args:
        uri: Tracking URI, shown without credentials.
        doing: What failed, as a verb phrase.

    Raises:
        ConfigError: the server refuses these credentials or this host name, so that a retry would not help.
        StageError: anything else.
    """
    try:
        yield
    except ThinkSafeError:
        raise
    except Exception as error:  # MlflowException, requests, sqlalchemy, botocore: no common base
        text = scrubbed(" ".join(str(error).split()), uri)
        if "(Caused by " in text:  # the text of the connection pool before it is the same in every message
            text = text.rpartition("(Caused by ")[2].removesuffix(")")
        found = f"{type(error).__name__} {text}"
        refused, hint = _hint(found)
        cut = text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "..."
        host = re.sub(r"^[^/]*//|(?<=[^:]):\d*(/.*)?$|/.*$", "", shown(uri))
        kind = ConfigError if refused else StageError
        raise kind(
            f"MLflow at {shown(uri)} could not {doing} ({type(error).__name__}: {cut}).", hint.replace("{host}", host)
        ) from error


def _hint(found: str) -> tuple[bool, str]:
    """Return whether an error is a refusal, and what to do about it."""
    for hints in (_REFUSALS, _HINTS):
        for pattern, hint in hints:
            if re.search(pattern, found, re.IGNORECASE):
                return hints is _REFUSALS, hint
    return False, _UNREACHABLE


@contextmanager
def uploading(client: MlflowClient, size: int) -> Iterator[None]:
    """Allow an upload of ``size`` bytes more time than other calls, by :data:`SLOWEST`."""
    with allowing(client, LIMIT + size / SLOWEST) as seconds:
        short = os.environ.get(TIMEOUT_VARIABLE) == ENVIRONMENT[TIMEOUT_VARIABLE]
        if short:
            os.environ[TIMEOUT_VARIABLE] = str(math.ceil(seconds))
        try:
            yield
        finally:
            if short:
                os.environ[TIMEOUT_VARIABLE] = ENVIRONMENT[TIMEOUT_VARIABLE]


@contextmanager
def allowing(client: MlflowClient, seconds: float) -> Iterator[float]:
    """Let each call of a client from :func:`connect` take this many seconds instead of LIMIT."""
    bounded = cast("Bounded", client)
    before, bounded.seconds = bounded.seconds, seconds
    try:
        yield seconds
    finally:
        bounded.seconds = before


def quoted(value: str) -> str:
    """Return a string literal for a search filter. Raises ConfigError for characters that MLflow cannot escape."""
    if not value or any(letter in "'\"\\`" or not letter.isprintable() for letter in value):
        raise ConfigError(f"{value[:80]!r} cannot be searched for in MLflow.", "Use letters, digits and '._-'.")
    return f"'{value}'"


def ensure_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of an experiment, creating it if it is missing; with SQLite, artifacts are stored beside the file.

    Raises:
        StageError: it was deleted, or MLflow failed.
    """
    from mlflow.exceptions import MlflowException

    with reporting(uri, f"find or create the experiment {name!r}"):
        found = client.get_experiment_by_name(name)
        if found is None:
            path = sqlite_path(uri)
            # MLflow's own default for a database is a folder in the working directory.
            location = str(path.parent / "mlartifacts" / _folder_name(name)) if path is not None else None
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except MlflowException as error:
                if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = client.get_experiment_by_name(name)  # another process was faster
                if found is None:
                    raise
    if found.lifecycle_stage != "active":
        raise StageError(
            f"The MLflow experiment {name!r} was deleted.", "Restore it, or set registry.experiment to another name."
        )
    return str(found.experiment_id)


def error_code(error: BaseException) -> str:
    """Return MLflow's error code, e.g. ``RESOURCE_ALREADY_EXISTS``."""
    return str(getattr(error, "error_code", ""))


@contextmanager
def missing_ok() -> Iterator[None]:
    """Accept that an object to delete is missing: the library repeats a request whose answer was lost."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise


def all_pages(search: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """Return all results of one of the client's paged searches."""
    found: list[Any] = []
    token = None
    while True:
        page = search(*args, **kwargs, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _knock(uri: str) -> None:
    """Open one connection to a database server: MLflow itself would keep trying for a minute and a half."""
    from sqlalchemy import create_engine

    create_engine(uri).connect().close()


def _folder_name(experiment: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", experiment)
    if safe == experiment and safe.strip("."):
        return safe
    return f"{safe.strip('.')[:60]}-{digest_bytes(experiment.encode())[:8]}"
