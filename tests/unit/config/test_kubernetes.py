from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from kubernetes.utils.quantity import parse_quantity
from pydantic import TypeAdapter, ValidationError

from thinksafe.config import kubernetes
from thinksafe.config.kubernetes import (
    Cpu,
    Duration,
    LabelKey,
    LabelValue,
    Memory,
    ObjectName,
    amount,
    seconds,
)

TEXT_RULES = (
    "DnsLabel", "ObjectName", "OptionalName", "ServiceName", "DataKey", "OptionalKey", "Variable", "OptionalVariable",
    "LabelKey", "LabelValue", "ExtendedResource", "Cpu", "Memory", "Duration",
)
TEXTS = st.text("aB0-._/mkKGi \n=é", max_size=12)


def taken(kind: object, value: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", TEXT_RULES)
@given(value=TEXTS)
def test_the_schema_has_the_same_rule(name: str, value: str) -> None:
    kind = vars(kubernetes)[name]
    schema = Draft202012Validator(TypeAdapter(kind).json_schema())
    # Python's $ also matches before the last line end, that of Helm's schemas does not
    if taken(kind, value):
        assert schema.is_valid(value)
    elif not value.endswith("\n") and name not in ("Cpu", "Memory", "Duration"):
        assert not schema.is_valid(value)


@given(st.from_regex(r"([0-9]{1,6}(\.[0-9]{1,3})?|[0-9]{1,6}m)", fullmatch=True).filter(str.isascii))
def test_cores_are_read_as_kubernetes_reads_them(text: str) -> None:
    assert amount(text) == parse_quantity(text)
    assert taken(Cpu, text) == (parse_quantity(text) > 0)


@given(st.from_regex(r"[0-9]{1,6}([MGTPE]|[KMGTPE]i)?", fullmatch=True).filter(str.isascii))
def test_bytes_are_read_as_kubernetes_reads_them(text: str) -> None:
    assert amount(text) == parse_quantity(text)
    assert taken(Memory, text) == (parse_quantity(text) > 0)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            ObjectName, ["a", "a.b", "a-b.c0", "0", "a" * 253],
            ["", "A", "a.", ".a", "a..b", "a-.b", "a_b", "a" * 254, "a\n"],
        ),
        (
            LabelKey, ["a", "A.b_c-D", "a.b/C", "a" * 63],
            ["", "a b", "/a", "a/", "a/b/c", "-a", "a" * 64, "A/b", "a" * 254 + "/b"],
        ),
        (LabelValue, ["", "a", "A.b_c-D", "a" * 63], ["-", "a b", "a" * 64, "a\n", "{{x}}"]),
        (
            Memory, ["1", "512Mi", "1Ki", "20G"],
            ["", "1ki", "1K", "1.5Gi", "16 Gi", "16GB", "-1Gi", "0", "0Gi", "1m", "1e9"],
        ),
        (Cpu, ["1", "0.5", "500m", "1.001"], ["", "1k", "0", "0.0", "0m", "1.5m", "-1", ".5", "1.0001"]),
        (Duration, ["1s", "8760h", "90m"], ["", "0s", "1d", "1h30m", "8761h", "1.5h", "-1s", "525601m"]),
    ],
)
def test_what_is_taken(kind: object, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not taken(kind, text)] == []
    assert [text for text in bad if taken(kind, text)] == []


def test_times_and_amounts_have_their_size() -> None:
    assert [seconds(text) for text in ("90s", "10m", "2h")] == [90, 600, 7200]
    assert [amount(text) for text in ("500m", "1Ki", "2G")] == [Decimal("0.5"), 1024, 2 * 10**9]
