"""Hostile texts, and the records of a run that are full of one."""

from __future__ import annotations

from typing import Any

from report_runs import refused

from thinksafe.run.record import StageRecord

CLOSED = frozenset(
    {"kind", "part", "role", "stopped_by", "use", "on_failure", "source", "metric", "mlflow_run", "measure"}
)
"""Fields with a fixed set of values, which no text can reach."""


def hostile(text: str) -> dict[str, StageRecord]:
    """A refused run with a failed retry, in which every free text holds ``text``."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        return f"{text} {value} {text}" if isinstance(value, str) and key not in CLOSED else value

    found = {}
    for task, record in refused().items():
        failing = {"status": "failed", "error": text, "action": text} if task == "register" else {}
        found[task] = record.model_copy(
            update={
                "details": spoil(record.details),
                "outputs": {f"{text}{name}": digest for name, digest in record.outputs.items()},
                "verdict": text,
                "run_id": text,
                **failing,
            }
        )
    return found


HOSTILE = {
    "script": "<script>window.pwned=1</script><!-- timing block: begin --> ]]>",
    "attribute": "\"'><img src=x onerror=window.pwned=1></style></script><svg onload=window.pwned=1>",
    "template": "{{ 7 * 7 }}{% raw %} $\\frac{1}{0}$ \\n %s %(x)s",
    "unicode": "ab\u202edc\u2066\x00\x1b[31m\x7f\U0001f4a9\ufffe z" + "\u0301" * 500,
    "long": "x" * 100_000,
    "lines": "line\n" * 20_000,
}
