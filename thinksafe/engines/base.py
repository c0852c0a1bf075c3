"""What an engine must do: draw one response for each conversation, reproducibly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from thinksafe.config.model import EngineSettings
from thinksafe.models import ModelReference
from thinksafe.records import Finish, SamplingSettings
from thinksafe.store import Store

Turn = dict[str, str]
"""``{"role": "user" | "assistant" | "system", "content": text}``. A last turn of the assistant is continued."""


def opening_of(turns: list[Turn]) -> str:
    """Return what the response to a conversation is made to begin with; empty where it is free."""
    return turns[-1]["content"] if turns[-1]["role"] == "assistant" else ""


@dataclass(frozen=True)
class Generation:
    """One response as the model wrote it, thought included."""

    response: str
    finish: Finish
    tokens: int
    prompt_tokens: int


class Engine(Protocol):
    """A loaded model."""

    def generate(
        self,
        conversations: list[list[Turn]],
        settings: SamplingSettings,
        seed: int,
        advance: Callable[[int], None],
    ) -> list[Generation]:
        """Return one response per conversation, in order.

        Where a conversation ends with a turn of the assistant, the model continues it, and the response begins with
        it. Equal arguments on one machine give equal responses. ``advance`` is told how many responses were finished.
        """
        ...


def open_engine(settings: EngineSettings, model: ModelReference, store: Store) -> Engine:
    """Load a model for generation.

    Raises:
        ConfigError: the engine is not installed or its settings lack something.
        InputError: the model cannot be loaded or does not fit its settings.
    """
    if settings.kind == "vllm":
        from thinksafe.engines.vllm import VllmEngine

        return VllmEngine(settings, model, store)
    if settings.kind == "endpoint":
        from thinksafe.engines.endpoint import EndpointEngine

        return EndpointEngine(settings, model, store)
    from thinksafe.engines.transformers import TransformersEngine

    return TransformersEngine(settings, model, store)
