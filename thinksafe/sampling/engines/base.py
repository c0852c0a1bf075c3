"""The interface of engines: draw one response per conversation, reproducibly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from thinksafe.config.model import EngineSettings
from thinksafe.models.references import ModelReference
from thinksafe.records import Finish, SamplingSettings
from thinksafe.store import Store

Turn = dict[str, str]
"""``{"role": "user" | "assistant" | "system", "content": text}``. A last turn of the assistant is continued."""


def opening_of(turns: list[Turn]) -> str:
    """Return the text that the response to a conversation is made to begin with; empty if it is free."""
    return turns[-1]["content"] if turns[-1]["role"] == "assistant" else ""


@dataclass(frozen=True)
class Generation:
    """One response as the model wrote it, thought included."""

    response: str
    finish: Finish
    tokens: int
    prompt_tokens: int
    ids: tuple[int, ...] = ()
    """The tokens of the response that the model wrote, the end included; empty if the engine does not know them."""


@dataclass(frozen=True)
class Batch:
    """Arguments of one call of :meth:`Engine.generate`."""

    conversations: list[list[Turn]]
    settings: SamplingSettings
    seed: int
    advance: Callable[[int], None]


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


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that is fastest with more than one batch in flight."""

    def stream(self, batches: Iterator[Batch]) -> Iterator[tuple[int, list[Generation]]]:
        """Yield the index of each batch (from 0) and its responses as batches finish; takes more when it can."""
        ...


@runtime_checkable
class MeasuringEngine(Engine, Protocol):
    """An engine that knows how long a prompt may be."""

    @property
    def positions(self) -> int:
        """Tokens of prompt and response together that the model can hold; 0 if its configuration does not say."""
        ...

    def length(self, turns: list[Turn]) -> int:
        """Return the tokens of a conversation, up to where the model writes."""
        ...


@runtime_checkable
class LikelihoodEngine(Engine, Protocol):
    """An engine that computes how likely its model finds a given response."""

    def likelihoods(self, asked: list[tuple[list[Turn], tuple[int, ...]]]) -> list[float | None]:
        """Return the negative log-likelihood of each response behind its conversation, in nats a token.

        Args:
            asked: Conversations, each with the tokens of a response.

        Returns:
            At temperature 1, without top-p and top-k; None for a response that does not fit into the model, or is
            empty.
        """
        ...


def stream(engine: Engine, batches: Iterator[Batch]) -> Iterator[tuple[int, list[Generation]]]:
    """Yield the index of each batch and its responses, from any engine, one at a time without streaming."""
    if isinstance(engine, StreamingEngine):
        yield from engine.stream(batches)
        return
    for place, batch in enumerate(batches):
        yield place, engine.generate(batch.conversations, batch.settings, batch.seed, batch.advance)


def open_engine(settings: EngineSettings, model: ModelReference, store: Store) -> Engine:
    """Load a model for generation.

    Raises:
        ConfigError: the engine is not installed or its settings lack something.
        InputError: the model cannot be loaded or does not fit its settings.
    """
    if settings.kind == "vllm":
        from thinksafe.sampling.engines.vllm import VllmEngine

        return VllmEngine(settings, model, store)
    if settings.kind == "endpoint":
        from thinksafe.sampling.engines.endpoint import EndpointEngine

        return EndpointEngine(settings, model, store)
    from thinksafe.sampling.engines.transformers import TransformersEngine

    return TransformersEngine(settings, model, store)
