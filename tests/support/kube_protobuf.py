"""Secrets as helm sends them, in protobuf, read into what they are in JSON. Field numbers are those of Kubernetes."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

CONTENT = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field: bytes, or an int."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            size = varint()
            at += size
            yield key >> 3, data[at - size:at]
        else:
            raise ValueError(f"no message of Kubernetes has the wire type {key & 7}")


def pairs(entries: list[bytes]) -> dict[str, bytes]:
    """Return a map from its entries."""
    return {one[1].decode(): one.get(2, b"") for one in (dict(fields(entry)) for entry in entries)}


def secret(data: bytes) -> dict[str, Any]:
    """Return a Secret in an envelope of Kubernetes."""
    envelope = dict(fields(data.removeprefix(MAGIC)))
    kind = dict(fields(envelope[1]))
    if kind.get(2) != b"Secret":
        raise ValueError(f"only Secrets are expected in protobuf, not {kind}")
    found = list(fields(envelope[2]))
    meta = list(fields(next(value for number, value in found if number == 1)))
    metadata: dict[str, Any] = {"name": next(value for number, value in meta if number == 1).decode()}
    for name, of in (("labels", 11), ("annotations", 12)):
        texts = pairs([value for number, value in meta if number == of])
        metadata[name] = {key: value.decode() for key, value in texts.items()}
    content = pairs([value for number, value in found if number == 2])
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
        "type": next((value for number, value in found if number == 3), b"Opaque").decode(),
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }
