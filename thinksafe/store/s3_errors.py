"""Errors of calls to S3: which ones are transient, and the messages for the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thinksafe.errors import ConfigError, ConflictError, MissingError, StoreError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# Answers below 500 after which the same call may succeed. BadDigest and its like: the body was damaged or cut on its
# way. NoSuchUpload: an upload in parts was completed, the answer was lost, and the repeated request finds it closed.
_TRANSIENT = frozenset(
    {
        "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "InternalError",
        "ServiceUnavailable", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "IncompleteBody",
        "BadDigest", "XAmzContentSHA256Mismatch", "NoSuchUpload",
    }
)
_FINAL = frozenset({501, 505, 507})
_SERVER = "Check AWS_ENDPOINT_URL and the server, then start the same command again; finished work is kept."
_ACCESS = "Give these credentials the right to read, write and list the objects below the prefix."
_GONE = "It was deleted or never written; start the run again."
NO_BUCKET = "Create the bucket or correct the address."
TOO_LARGE = (
    "Raise the body limit of the proxy before the server (nginx: client_max_body_size; its ingress: the annotation "
    "nginx.ingress.kubernetes.io/proxy-body-size), then start the same command again."
)
_ACTIONS = {
    "NoSuchBucket": NO_BUCKET,
    "NoSuchKey": _GONE,
    "404": _GONE,
    "AccessDenied": _ACCESS,
    "AllAccessDisabled": _ACCESS,
    "Forbidden": _ACCESS,
    "403": _ACCESS,
    "InvalidAccessKeyId": "Check AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "Check AWS_SECRET_ACCESS_KEY.",
    "ExpiredToken": "Renew the session's credentials.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "QuotaExceeded": "Raise the quota; finished work is kept.",
    "413": TOO_LARGE,
    "EntityTooLarge": TOO_LARGE,
}


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed when it is repeated.

    No refusal (403) and nothing that is missing (404) is. Whether an unanswered write was carried out is unknown.
    """
    from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, SSLError
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.parsers import ResponseParserError

    error = _cause(error)
    if isinstance(error, ClientError):
        code, status = _code(error)
        return code in _TRANSIENT or status in (408, 429) or (status >= 500 and status not in _FINAL)
    if isinstance(error, SSLError):  # waiting does not make a certificate valid
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    # the built-in errors come from a socket that breaks while a body is read
    return isinstance(
        error,
        NoConnection | HTTPClientError | IncompleteReadError | ResponseParserError | ConnectionError | TimeoutError,
    )


def is_refusal(error: ClientError) -> bool:
    """Return whether access was refused. The answer to HEAD has no body that could say why."""
    return _code(error)[1] == 403


def explained(error: BaseException, verb: str, where: str, root: str) -> StoreError | ConfigError | None:
    """Return what to raise for an error of boto3 or the network; None for any other error.

    Args:
        error: The error.
        verb: The failed operation: ``read``, ``write``, ``look up`` or ``list``.
        where: Address of the object.
        root: Address of the store.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )
    from botocore.parsers import ResponseParserError

    error = _cause(error)
    if isinstance(error, PartialCredentialsError):
        return ConfigError(
            f"The credentials for {root} are incomplete: {error.kwargs['cred_var']} is missing.",
            "Set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither of them.",
        )
    if isinstance(error, NoCredentialsError):
        return ConfigError(
            f"There are no credentials for {root}.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a workload identity.",
        )
    if isinstance(error, ParamValidationError):
        return ConfigError(f"S3 has no bucket or key of the form {where}.", "Correct the address.")
    if isinstance(error, ClientError):
        code, status = _code(error)
        if status == 412 or code == "PreconditionFailed":
            return ConflictError(f"{where} already exists.", "Read it and decide again.")
        kind = MissingError if code in ("NoSuchKey", "404") else StoreError
        return kind(f"Could not {verb} {where} ({code or status}).", _ACTIONS.get(code, _SERVER))
    if isinstance(error, BotoCoreError | ResponseParserError | ConnectionError | TimeoutError):
        return StoreError(f"Could not {verb} {where} ({type(error).__name__}).", _SERVER)
    return None


def _cause(error: BaseException) -> BaseException:
    from boto3.exceptions import S3UploadFailedError

    return error.__context__ or error if isinstance(error, S3UploadFailedError) else error


def _code(error: ClientError) -> tuple[str, int]:
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
