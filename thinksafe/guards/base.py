"""What a guard must do: give each (prompt, response) a three-valued opinion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from thinksafe.config.model import GuardSettings
from thinksafe.records import Prompt, VerdictValue


@dataclass(frozen=True)
class Opinion:
    """What a guard says of one text."""

    verdict: VerdictValue
    """``unknown`` whenever the guard cannot tell; it never stands for safe."""
    refusal: bool | None = None
    p_unsafe: float | None = None
    shortened: bool = False
    categories: tuple[str, ...] = ()
    """Hazard categories of an unsafe text, where the guard names them and was asked to."""
    reason: str = ""


UNREADABLE = Opinion("unknown", None, reason="there is no text to judge")


class Guard(Protocol):
    """A loaded guard."""

    @property
    def name(self) -> str:
        """Name written on every verdict."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines its opinions (weights, format, code)."""
        ...

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        """Return one opinion per (original prompt, text of the response or of one part of it), in order."""
        ...


def open_guard(settings: GuardSettings) -> Guard:
    """Open a guard.

    Raises:
        InputError: the model of a guard that is one cannot be found, or does not fit the guard's format.
        StoreError: a model in a store could not be read.
    """
    if settings.kind == "micro-exact":
        from thinksafe.guards.exact import ExactGuard

        return ExactGuard()
    if settings.kind == "llama-guard-3":
        from thinksafe.guards.llama_guard import LlamaGuard

        return LlamaGuard(settings)
    if settings.kind == "wildguard":
        from thinksafe.guards.wildguard import WildGuard

        return WildGuard(settings)
    from thinksafe.guards.refusal import RefusalGuard

    return RefusalGuard()
