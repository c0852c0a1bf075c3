"""A store in an S3 bucket, through boto3.

Endpoint, region and credentials come from the usual environment (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``,
profiles, web identity). Servers differ in the checksums they keep, so every object carries its own SHA-256 in its
metadata and every read verifies it. A write that timed out may still land later: its outcome is unknown until it is
looked up, which is why a conditional create that loses first asks whether it lost to itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from thinksafe.digests import BLOCK, digest_bytes, digest_file
from thinksafe.errors import ConfigError, ConflictError, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 60, 8
"""Retries of botocore's standard mode, some seconds in all; a stage that fails later resumes when started again."""
PART = 16 << 20
"""Bytes of one part of a multipart upload."""
SHA256, WRITER = "sha256", "writer"


class S3Store:
    """Objects below ``s3://bucket/prefix``; see :class:`thinksafe.store.base.Store`."""

    def __init__(self, root: str) -> None:
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        if not bucket:
            raise ConfigError(f"The store root {root!r} names no bucket.", "Write s3://bucket/prefix.")
        self._bucket, self._prefix = bucket, prefix.strip("/")
        self._client = s3_client()

    @property
    def root(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        def read() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            data = answer["Body"].read()
            self._verify(key, digest_bytes(data), answer.get("Metadata", {}))
            return data

        return self._call("read", key, read, body=True)

    def put(self, key: str, data: bytes) -> None:
        self._call("write", key, lambda: self._put(key, data))

    def create(self, key: str, data: bytes) -> None:
        writer = uuid.uuid4().hex
        try:
            self._call("write", key, lambda: self._put(key, data, writer, IfNoneMatch="*"))
        except ConflictError:
            # a retry after a lost answer meets the object that the first attempt wrote
            if self._metadata(key).get(WRITER) != writer:
                raise

    def exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        def head() -> bool:
            try:
                self._client.head_object(Bucket=self._bucket, Key=self._key(key))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
            return True

        return self._call("look up", key, head)

    def keys(self, prefix: str) -> list[str]:
        return list(self.tags(prefix))

    def tags(self, prefix: str) -> dict[str, str]:
        def pages() -> dict[str, str]:
            start = self._key("")
            pager = self._client.get_paginator("list_objects_v2")
            pages = pager.paginate(Bucket=self._bucket, Prefix=start + prefix)
            found = {
                item["Key"][len(start) :]: item["ETag"].strip('"')
                for page in pages
                for item in page.get("Contents", [])
            }
            return dict(sorted(found.items()))

        return self._call("list", prefix, pages)

    def put_file(self, key: str, path: Path) -> None:
        from boto3.s3.transfer import TransferConfig

        digest = digest_file(path)
        self._call(
            "write", key,
            lambda: self._client.upload_file(
                str(path), self._bucket, self._key(key), ExtraArgs={"Metadata": {SHA256: digest}},
                Config=TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4),
            ),
        )

    def get_file(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".tmp-{uuid.uuid4().hex}")

        def read() -> None:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            sha = hashlib.sha256()
            with partial.open("wb") as stream:
                for block in answer["Body"].iter_chunks(BLOCK):
                    sha.update(block)
                    stream.write(block)
            self._verify(key, sha.hexdigest(), answer.get("Metadata", {}))

        try:
            self._call("read", key, read, body=True)
            os.replace(partial, path)
        except OSError as error:
            raise StoreError(
                f"Could not write {path}: {error.strerror or error}.", "Free disk space and start again."
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def uri(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _key(self, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/"):
            raise StoreError(f"The store key {key!r} is not a relative path.", "Use keys without '..'.")
        return f"{self._prefix}/{key}" if self._prefix else key

    def _put(self, key: str, data: bytes, writer: str = "", **conditions: Any) -> None:
        metadata = {SHA256: digest_bytes(data)} | ({WRITER: writer} if writer else {})
        self._client.put_object(
            Bucket=self._bucket, Key=self._key(key), Body=data, Metadata=metadata,
            # enforced by every server seen, unlike x-amz-checksum-*
            ContentMD5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            **conditions,
        )

    def _metadata(self, key: str) -> dict[str, str]:
        return self._call(
            "look up", key,
            lambda: self._client.head_object(Bucket=self._bucket, Key=self._key(key)).get("Metadata", {}),
        )

    def _verify(self, key: str, digest: str, metadata: dict[str, str]) -> None:
        if metadata.get(SHA256, digest) != digest:
            raise StoreError(
                f"{self.uri(key)} is damaged (its digest differs from the one it was written with).",
                "Delete it and start the run again.",
            )

    def _call(self, verb: str, key: str, action: Callable[[], T], *, body: bool = False) -> T:
        """Run an S3 call; a body cut while reading is read again, which botocore's own retries do not do."""
        from botocore.exceptions import ResponseStreamingError

        with self._explained(verb, key):
            for _ in range(ATTEMPTS - 1 if body else 0):
                try:
                    return action()
                except (ResponseStreamingError, ConnectionError):
                    continue
            return action()

    @contextmanager
    def _explained(self, verb: str, key: str) -> Iterator[None]:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = self.uri(key)
        try:
            yield
        except NoCredentialsError as error:
            raise ConfigError(
                f"There are no credentials for {self.root}.",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a workload identity.",
            ) from error
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 412 or code == "PreconditionFailed":
                raise ConflictError(f"{where} already exists.", "Read it and decide again.") from error
            raise StoreError(f"Could not {verb} {where} ({code or status}).", _ACTIONS.get(code, _RETRY)) from error
        except (BotoCoreError, S3UploadFailedError, ConnectionError) as error:
            raise StoreError(
                f"Could not {verb} {where} ({type(error).__name__}).",
                "Check AWS_ENDPOINT_URL and the server, then start the same command again; finished work is kept.",
            ) from error


_RETRY = "Start the same command again when the server is well; finished work is kept."
_ACTIONS = {
    "NoSuchBucket": "Create the bucket or correct --artifacts.",
    "NoSuchKey": "It was deleted or never written; start the run again.",
    "404": "It was deleted or never written; start the run again.",
    "AccessDenied": "Give these credentials read and write access to the prefix.",
    "403": "Give these credentials read and write access to the prefix.",
    "InvalidAccessKeyId": "Check AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "Check AWS_SECRET_ACCESS_KEY.",
    "QuotaExceeded": "Raise the bucket's quota; finished work is kept.",
}


def s3_client() -> S3Client:
    """Return a client with the project's time-outs and retries; a region is only asked for by AWS itself."""
    import boto3.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        # a session of its own: boto3's default one is not safe among threads and keeps the first credentials it finds
        return boto3.session.Session().client(
            "s3",
            region_name=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            config=Config(
                connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS,
                retries={"mode": "standard", "max_attempts": ATTEMPTS},
                # other servers reject the trailing checksums that newer SDKs send by default
                request_checksum_calculation="when_required", response_checksum_validation="when_required",
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"The S3 client cannot be made ({type(error).__name__}).", "Check AWS_ENDPOINT_URL and AWS_PROFILE."
        ) from error
