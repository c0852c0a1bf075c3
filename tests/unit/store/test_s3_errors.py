"""Which errors of S3 are worth another attempt, and what the others say."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from thinksafe.errors import ConfigError, ConflictError, MissingError, StoreError, ThinkSafeError
from thinksafe.store.s3_errors import explained, is_transient

URL = {"endpoint_url": "http://127.0.0.1:9"}


def answer(code: str, status: int) -> boto.ClientError:
    given: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(given, "PutObject")


def failed_upload(error: Exception) -> S3UploadFailedError:
    """As boto3 raises it: the cause is its context only."""
    try:
        try:
            raise error
        except Exception:
            raise S3UploadFailedError("failed")  # noqa: B904
    except S3UploadFailedError as failed:
        return failed


@pytest.mark.parametrize(
    "error",
    [
        answer("InternalError", 500), answer("503", 503), answer("SlowDown", 503), answer("", 502),
        answer("SlowDown", 429), answer("TooManyRequests", 429), answer("RequestTimeout", 400),
        answer("ConditionalRequestConflict", 409),
        answer("OperationAborted", 409), answer("BadDigest", 400), answer("IncompleteBody", 400),
        answer("InternalError", 200), answer("NoSuchUpload", 404), failed_upload(answer("SlowDown", 503)),
        failed_upload(boto.ConnectionClosedError(**URL)),
        boto.EndpointConnectionError(**URL), boto.ConnectTimeoutError(**URL), boto.ReadTimeoutError(**URL),
        boto.ConnectionClosedError(**URL), boto.ResponseStreamingError(error="cut"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), boto.SSLError(error="EOF occurred", **URL),
        ResponseParserError("cut"), ConnectionResetError(), TimeoutError(),
    ],
    ids=repr,
)
def test_what_may_pass(error: Exception) -> None:
    assert is_transient(error)
    told = explained(error, "write", "s3://b/p/x", "s3://b/p")
    assert type(told) is StoreError
    assert told.problem.startswith("Could not write s3://b/p/x (")


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (answer("NoSuchKey", 404), MissingError, "deleted or never written"),
        (answer("404", 404), MissingError, "deleted or never written"),
        (answer("NoSuchBucket", 404), StoreError, "Create the bucket"),
        (answer("AccessDenied", 403), StoreError, "read, write and list"),
        (answer("403", 403), StoreError, "read, write and list"),
        (answer("InvalidAccessKeyId", 403), StoreError, "AWS_ACCESS_KEY_ID"),
        (answer("SignatureDoesNotMatch", 403), StoreError, "AWS_SECRET_ACCESS_KEY"),
        (answer("QuotaExceeded", 403), StoreError, "quota"),
        (answer("ExpiredToken", 400), StoreError, "Renew"),
        (answer("NotImplemented", 501), StoreError, "the server"),
        (answer("InsufficientStorage", 507), StoreError, "the server"),
        (answer("PreconditionFailed", 412), ConflictError, "decide again"),
        (answer("412", 412), ConflictError, "decide again"),
        (failed_upload(answer("AccessDenied", 403)), StoreError, "read, write and list"),
        (boto.NoCredentialsError(), ConfigError, "AWS_ACCESS_KEY_ID"),
        (boto.PartialCredentialsError(provider="env", cred_var="KEY"), ConfigError, "or neither"),
        (boto.ParamValidationError(report="bucket"), ConfigError, "Correct the address"),
        (boto.SSLError(error="[SSL: CERTIFICATE_VERIFY_FAILED]", **URL), StoreError, "AWS_ENDPOINT_URL"),
        (PermissionError(), None, ""),
        (ValueError(), None, ""),
    ],
    ids=repr,
)
def test_what_does_not_pass(error: Exception, kind: type[ThinkSafeError] | None, advice: str) -> None:
    assert not is_transient(error)
    told = explained(error, "read", "s3://b/p/x", "s3://b/p")
    if kind is None:
        assert told is None
        return
    assert type(told) is kind
    assert advice in told.action
