"""Methods: who writes the responses, which of them become examples, and what training minimises; one file a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from thinksafe.methods.base import Method
from thinksafe.methods.rejection import Rejection
from thinksafe.methods.thinksafe import ThinkSafe

METHODS: tuple[type[Method], ...] = (ThinkSafe, Rejection)
"""All methods; the configuration, its schema and the table of docs/methods.md follow from it."""

if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = Annotated[Union[METHODS], Field(discriminator="kind")]  # noqa: UP007 - of a tuple
