"""Base classes and types that all parts of the configuration share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# strict: YAML's `yes` is not a number, and "7" is text
Count = Annotated[int, Field(gt=0, strict=True)]
CountOrZero = Annotated[int, Field(ge=0, strict=True)]
Parallelism = Annotated[int, Field(gt=0, le=1000, strict=True)]
LONGEST_NAME = 63
Parameters = Literal["lora", "full"]
"""Weights that training changes: those of a LoRA adapter, or all of the student's."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Section(BaseModel):
    """Base of all configuration sections: no unknown keys, immutable, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class StudentSettings(Section):
    """A model that writes responses: the model to repair, or the teacher if the method has one."""

    model: Annotated[str, Field(min_length=1)]
    """``micro://<student>`` (shipped), a local folder, ``s3://bucket/prefix``, or a hub id."""
    revision: str = ""
    """Commit of a hub id; a branch name is resolved when planning."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Off by default, and shown in the report when on."""
    reasoning: Literal["think", "none"] = "think"
    """``think``: the response opens with a <think>...</think> thought. ``none``: the whole response is the answer."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the weights; float32 on CPUs without bfloat16 units."""
