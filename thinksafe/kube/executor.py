"""KFP's executor input and output, as plain JSON: what a stage gets in ``{{$}}`` and returns.

A container component must write the executor output itself: ``kfp.local`` otherwise drops its artifact outputs, and on
a cluster the launcher merges the file, including metadata, into what it uploads. The messages are ``ExecutorInput``
and ``ExecutorOutput`` of KFP's pipeline_spec.proto in protobuf's JSON form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thinksafe.errors import InputError
from thinksafe.jsonl import write_atomic


def write_executor_output(executor_input: str, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the executor output: every output artifact, name and address as KFP gave them, with its metadata.

    Args:
        executor_input: What KFP inserts for ``{{$}}``; empty outside KFP, and then nothing is written.
        metadata: JSON-able metadata by artifact name; other artifacts get none.

    Raises:
        InputError: the executor input is not what KFP writes, the metadata names an artifact that the component
            does not have, or it is not JSON.
    """
    if not executor_input:
        return
    outputs = _part(_parse(executor_input), "outputs")
    artifacts = _part(outputs, "artifacts")
    if unknown := sorted(set(metadata) - set(artifacts)):
        raise InputError(
            f"There is metadata for {', '.join(map(repr, unknown))}, but this task has no such output artifact.",
            f"Its output artifacts: {', '.join(sorted(artifacts)) or 'none'}.",
        )
    target = outputs.get("outputFile")
    if not isinstance(target, str) or not target:
        raise _malformed("it has no outputs.outputFile")
    written = {
        name: {
            "artifacts": [
                {"name": item.get("name", name), "uri": item["uri"], "metadata": dict(metadata.get(name, {}))}
                for item in _items(artifacts, name)
            ]
        }
        for name in artifacts
    }
    try:
        text = json.dumps({"artifacts": written}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The metadata of an output artifact is not JSON ({error}).", "Use plain numbers, texts and lists."
        ) from error
    write_atomic(Path(target), text.encode())


def _parse(executor_input: str) -> dict[str, Any]:
    try:
        value = json.loads(executor_input)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _malformed("it is not JSON") from error
    if not isinstance(value, dict):
        raise _malformed("it is not an object")
    return value


def _part(value: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a member object; protobuf's JSON omits empty ones."""
    part = value.get(key, {})
    if not isinstance(part, dict):
        raise _malformed(f"{key} is not an object")
    return part


def _items(artifacts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entry = artifacts[name]
    items = entry.get("artifacts", []) if isinstance(entry, dict) else None
    if not isinstance(items, list) or not all(isinstance(i, dict) and isinstance(i.get("uri"), str) for i in items):
        raise _malformed(f"the artifact {name!r} has no addresses")
    return items


def _malformed(reason: str) -> InputError:
    return InputError(f"The executor input is malformed: {reason}.", "Pass what KFP inserts for {{$}}.")
