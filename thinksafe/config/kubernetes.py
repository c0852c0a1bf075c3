"""Names, labels, amounts and times that Kubernetes accepts, checked when a configuration is read.

The API server refuses anything else, but only hours later, in the middle of a run. Each type describes the problem in
words and adds the same rule to the JSON Schema as a pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_PART = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_WORDS = "lower-case letters, digits and dashes, a letter or digit at both ends"
YEAR_S = 365 * 24 * 3600
INT32 = 2**31 - 1


@dataclass(frozen=True)
class _Rule:
    """A pattern that a whole text must match, the message if it does not, and the maximum length."""

    pattern: str
    words: str
    longest: int

    def check(self, value: str) -> str:
        if len(value) > self.longest:
            raise ValueError(f"longer than {self.longest} characters")
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.words)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^({self.pattern})$", "maxLength": self.longest}


def _prefix_short(value: str) -> str:
    prefix, slash, _ = value.partition("/")
    if slash and len(prefix) > 253:
        raise ValueError("the part before / is longer than 253 characters")
    return value


_NAME = f"not a Kubernetes name: {_WORDS}; dots between such parts"
_KEY = "not a key of a Secret or ConfigMap: letters, digits and . _ -"
_VARIABLE = "not an environment variable: letters, digits and _, no digit first"
_LABELLED = "at most 63 letters, digits and . _ - with a letter or digit at both ends"

DnsLabel = Annotated[str, _Rule(_LABEL, f"not a DNS label: {_WORDS}", 63)]
"""DNS-1123 label: namespaces, pipelines."""
ObjectName = Annotated[str, _Rule(_SUBDOMAIN, _NAME, 253)]
"""DNS-1123 subdomain: Secrets, ConfigMaps, claims, service accounts, classes."""
OptionalName = Annotated[str, _Rule(f"({_SUBDOMAIN})?", f"{_NAME}; or empty", 253)]
ServiceName = Annotated[
    str, _Rule(r"[a-z]([a-z0-9-]*[a-z0-9])?", f"not a name for a Service: {_WORDS}, a letter first", 53)
]
"""Name of served objects: a DNS label, short enough for the suffixes that controllers add."""
DataKey = Annotated[str, _Rule(r"[-._a-zA-Z0-9]+", _KEY, 253)]
"""Key in a Secret or ConfigMap."""
OptionalKey = Annotated[str, _Rule(r"[-._a-zA-Z0-9]*", _KEY, 253)]
Variable = Annotated[str, _Rule(r"[A-Za-z_][A-Za-z0-9_]*", _VARIABLE, 253)]
OptionalVariable = Annotated[str, _Rule(r"([A-Za-z_][A-Za-z0-9_]*)?", _VARIABLE, 253)]
LabelKey = Annotated[
    str, _Rule(rf"({_SUBDOMAIN}/)?{_PART}", f"not a label: {_LABELLED}, after an optional domain and /", 317),
    AfterValidator(_prefix_short),
]
LabelValue = Annotated[str, _Rule(f"({_PART})?", f"not a label's value: {_LABELLED}", 63)]
ExtendedResource = Annotated[
    str, _Rule(rf"{_SUBDOMAIN}/{_PART}", "not an extended resource: write it as nvidia.com/gpu", 317),
    AfterValidator(_prefix_short),
]

_SUFFIX = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000)} | {
    letter + binary: Decimal(1024 if binary else 1000) ** power
    for power, letter in enumerate("KMGTPE", 1) for binary in ("", "i") if letter + binary != "K"
}


def amount(quantity: str) -> Decimal:
    """Return the value of a quantity: ``500m`` is 0.5, ``1Ki`` is 1024."""
    digits = quantity.rstrip("mkKMGTPEi")
    return Decimal(digits) * _SUFFIX[quantity[len(digits):]]


def _some(quantity: str) -> str:
    if not amount(quantity):
        raise ValueError("is zero; leave it out")
    return quantity


Cpu = Annotated[
    str, _Rule(r"[0-9]+(\.[0-9]{1,3})?|[0-9]+m", "not a count of cores: write 4, 0.5, 500m", 12), AfterValidator(_some)
]
"""Cores: ``4``, ``0.5``, ``500m``."""
Memory = Annotated[
    str, _Rule(r"[0-9]+([MGTPE]|[KMGTPE]i)?", "not a size in bytes: write 16Gi, 512Mi or 20G, without a fraction", 20),
    AfterValidator(_some),
]
"""Bytes, as Kubeflow's SDK takes them: ``16Gi``, ``512Mi``, ``20G``."""


def seconds(duration: str) -> int:
    """Return the seconds of a :data:`Duration`."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def _within_a_year(duration: str) -> str:
    if seconds(duration) > YEAR_S:
        raise ValueError("is more than a year (8760h)")
    return duration


Duration = Annotated[
    str, _Rule(r"[1-9][0-9]{0,7}[smh]", "not a time: write 30s, 10m or 2h", 9), AfterValidator(_within_a_year)
]
"""Time: ``30s``, ``10m``, ``2h``; at most a year."""
UserId = Annotated[int, Field(gt=0, le=INT32, strict=True)]
"""User or group that is not root."""
GroupId = Annotated[int, Field(ge=0, le=INT32, strict=True)]
Replicas = Annotated[int, Field(gt=0, le=INT32, strict=True)]
