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
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from thinksafe.digests import BLOCK, digest_bytes, digest_file
from thinksafe.errors import ConfigError, ConflictError, DamagedError, MissingError, StoreError
from thinksafe.files import writing
from thinksafe.store.base import check_folder, check_key, check_prefix, is_listed
from thinksafe.store.retries import default_retry_seconds, retried
from thinksafe.store.s3_errors import NO_BUCKET, explained, is_refusal, is_transient

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

T = TypeVar("T")

CONNECT_SECONDS, READ_SECONDS = 5, 60
PART, PART_ATTEMPTS = 16 << 20, 5
"""Bytes of one part of a multipart upload, and how often one is sent before the whole upload starts anew."""
SHA256, WRITER = "sha256", "writer"
LONGEST_ROOT = 300
"""Bytes of the root's prefix, so that any key fits below it."""


class S3Store:
    """Objects below ``s3://bucket/prefix``; see :class:`thinksafe.store.base.Store`.

    Args:
        root: ``s3://bucket/prefix``.
        foreign: See :func:`thinksafe.store.base.open_store`.
        retry_seconds: How long a failing call is tried again; by default ``THINKSAFE_S3_RETRY_SECONDS``, else 180.

    Raises:
        ConfigError: no bucket, a malformed prefix or setting, or no client can be made.
    """

    def __init__(self, root: str, *, foreign: bool = False, retry_seconds: float | None = None) -> None:
        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        self._bucket, self._prefix = bucket, prefix.strip("/")
        if not bucket:
            raise ConfigError(f"The store root {root!r} does not name a bucket.", "Write s3://bucket/prefix.")
        if self._prefix:
            _check_root(self._prefix, root)
        self._foreign, self._bucket_seen = foreign, False
        self._seconds = default_retry_seconds() if retry_seconds is None else retry_seconds
        self._client = s3_client()

    @property
    def root(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        check_key(key)

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            with closing(answer["Body"]) as body:  # its own "with" gives the raw stream, unchecked
                data = body.read()
            self._verify(key, digest_bytes(data), answer["Metadata"])
            return data

        return self._call("read", key, read)

    def put(self, key: str, data: bytes) -> None:
        check_key(key)
        self._call("write", key, lambda: self._put(key, data))

    def create(self, key: str, data: bytes) -> None:
        check_key(key)
        writer = uuid.uuid4().hex
        try:
            self._call("write", key, lambda: self._put(key, data, writer, IfNoneMatch="*"))
        except ConflictError as lost:
            # a retry after a lost answer meets the object that an earlier attempt wrote
            try:
                ours = self._head(key)["Metadata"].get(WRITER) == writer
            except MissingError:
                raise lost from None
            if not ours:
                raise

    def exists(self, key: str) -> bool:
        check_key(key)
        try:
            self._head(key)
        except MissingError:
            # the answer to HEAD does not show whether the bucket is missing
            if not self._bucket_seen:
                self._look_up_bucket()
            return False
        return True

    def delete(self, key: str) -> None:
        check_key(key)
        self._call("delete", key, lambda: self._client.delete_object(Bucket=self._bucket, Key=self._key(key)))

    def keys(self, prefix: str) -> list[str]:
        return list(self.tags(prefix))

    def folders(self, folder: str) -> list[str]:
        check_folder(folder)
        start, pages = len(self._key(folder)), self._pages(folder, Delimiter="/")
        found = (item["Prefix"] for page in pages for item in page.get("CommonPrefixes", []))
        return sorted(prefix[start:-1] for prefix in found if is_listed(prefix[start:-1]))

    def tags(self, prefix: str) -> dict[str, str]:
        check_prefix(prefix)
        start = len(self._key(""))
        found = (
            (item["Key"][start:], item["ETag"].strip('"')) for page in self._pages(prefix)
            for item in page.get("Contents", [])
        )
        return dict(sorted((key, tag) for key, tag in found if is_listed(key)))

    def _pages(self, prefix: str, **options: Any) -> Iterator[ListObjectsV2OutputTypeDef]:
        of: Any = {"Bucket": self._bucket, "Prefix": self._key("") + prefix, **options}
        while True:
            page = self._call("list", prefix, lambda: self._client.list_objects_v2(**of))
            yield page
            if not page.get("IsTruncated"):
                return
            of["ContinuationToken"] = page["NextContinuationToken"]

    def put_file(self, key: str, path: Path) -> None:
        check_key(key)
        try:
            with path.open("rb") as stream:
                small = stream.read(PART + 1)
        except OSError as error:
            raise StoreError(f"Could not read {path}: {error.strerror or error}.", "Check the path.") from error
        if len(small) <= PART:
            self.put(key, small)
            return
        del small
        self._put_parts(key, path, digest_file(path))

    def get_file(self, key: str, path: Path) -> None:
        check_key(key)

        def read(stream: BinaryIO) -> None:
            stream.truncate(0)  # data of an earlier attempt
            stream.seek(0)
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key))
            sha = hashlib.sha256()
            with closing(answer["Body"]) as body:
                for block in body.iter_chunks(BLOCK):
                    sha.update(block)
                    stream.write(block)
            self._verify(key, sha.hexdigest(), answer["Metadata"])

        try:
            with writing(path, durable=False) as stream:
                self._call("read", key, lambda: read(stream))
        except OSError as error:
            raise StoreError(
                f"Could not write {path}: {error.strerror or error}.", "Free disk space and start again."
            ) from error

    def uri(self, key: str) -> str:
        check_key(key)
        return self._address(key)

    def _address(self, key: str) -> str:
        return f"{self.root}/{key}"

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _put(self, key: str, data: bytes, writer: str = "", **conditions: Any) -> None:
        metadata = {SHA256: digest_bytes(data)} | ({WRITER: writer} if writer else {})
        self._client.put_object(
            Bucket=self._bucket, Key=self._key(key), Body=data, Metadata=metadata,
            # enforced by every server seen, unlike x-amz-checksum-*
            ContentMD5=base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            **conditions,
        )

    def _put_parts(self, key: str, path: Path, digest: str) -> None:
        from boto3.s3.transfer import TransferConfig

        # A part that fails is sent again by botocore for some seconds: with hundreds of parts, starting anew for each
        # would never come to an end.
        client = s3_client(PART_ATTEMPTS)
        parts = TransferConfig(
            multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4, preferred_transfer_client="classic"
        )
        self._call(
            "write", key,
            lambda: client.upload_file(
                str(path), self._bucket, self._key(key), ExtraArgs={"Metadata": {SHA256: digest}}, Config=parts
            ),
        )

    def _head(self, key: str) -> HeadObjectOutputTypeDef:
        of: Any = {"Bucket": self._bucket, "Key": self._key(key)}

        def look() -> HeadObjectOutputTypeDef:
            return _with_reason(
                lambda: self._client.head_object(**of), lambda: self._client.get_object(**of, Range="bytes=0-0")
            )

        return self._call("look up", key, look)

    def _look_up_bucket(self) -> None:
        of: Any = {"Bucket": self._bucket}

        def look() -> object:
            return _with_reason(
                lambda: self._client.head_bucket(**of), lambda: self._client.list_objects_v2(**of, MaxKeys=1)
            )

        try:
            self._call("look up", "", look)
        except MissingError as error:
            raise StoreError(f"There is no bucket {self._bucket!r}.", NO_BUCKET) from error
        self._bucket_seen = True

    def _verify(self, key: str, digest: str, metadata: dict[str, str]) -> None:
        where, written = self._address(key), metadata.get(SHA256)
        if written is None and not self._foreign:
            raise DamagedError(
                f"{where} has no digest, so ThinkSafe did not write it.",
                "Delete it and start the run again; to move a store, use a tool that keeps metadata.",
            )
        if written not in (None, digest):
            raise DamagedError(
                f"{where} is damaged (its digest differs from the one it was written with).",
                "Delete it and start the run again.",
            )

    def _call(self, verb: str, key: str, action: Callable[[], T]) -> T:
        """Make a call to S3 with its retries. Raises StoreError or ConfigError."""
        where = self._address(key)
        try:
            return retried(action, is_transient, self._seconds, f"{verb} {where}")
        except Exception as error:
            if told := explained(error, verb, where, self.root):
                raise told from error
            raise


def s3_client(attempts: int = 1) -> S3Client:
    """Return a client with the project's time-outs; a region is only asked for by AWS itself.

    Args:
        attempts: How often botocore itself makes a request; the store has retries of its own.

    Raises:
        ConfigError: the endpoint or the profile is malformed.
    """
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
                retries={"mode": "standard", "total_max_attempts": attempts},
                # other servers reject the trailing checksums that newer SDKs send by default
                request_checksum_calculation="when_required", response_checksum_validation="when_required",
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"The S3 client cannot be made ({type(error).__name__}).", "Check AWS_ENDPOINT_URL and AWS_PROFILE."
        ) from error


def _with_reason(head: Callable[[], T], get: Callable[[], object]) -> T:
    """Return the answer to a HEAD. Where it is refused, the same question as a GET is refused with the reason."""
    from botocore.exceptions import ClientError

    try:
        return head()
    except ClientError as error:
        if is_refusal(error):
            try:
                get()
            except ClientError as reason:
                if is_refusal(reason):
                    raise reason from error
        raise


def _check_root(prefix: str, root: str) -> None:
    try:
        check_key(prefix)
        if len(prefix.encode()) > LONGEST_ROOT:
            raise StoreError(f"The prefix is longer than {LONGEST_ROOT} bytes.", "")
    except StoreError as error:
        raise ConfigError(
            f"The address {root[:200]!r} is malformed or too long.", "Write s3://bucket/prefix with plain names."
        ) from error
