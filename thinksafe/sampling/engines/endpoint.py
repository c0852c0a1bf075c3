"""Generation through an OpenAI-compatible endpoint, for teams that already serve their student."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from thinksafe.config.model import EngineSettings
from thinksafe.digests import derived_seed
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.base import Generation, Turn, opening_of
from thinksafe.store import Store
from thinksafe.traces import CLOSE, OPEN

ANSWER_SECONDS = 600.0
TOKEN_SECONDS = 0.05
"""Time limit of a request, and extra time per token that it may write: a loaded server is slow."""


class EndpointEngine:
    """``/v1/chat/completions`` with one seed per conversation.

    A server with a reasoning parser returns thought and answer separately; they are joined again as the model wrote
    them. An endpoint serves the model it was started with, so it can sample the student but not a new adapter.
    """

    def __init__(self, settings: EngineSettings, model: ModelReference, store: Store) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError(
                "engine.kind is endpoint, and the openai client is not installed.", "Install thinksafe[endpoint]."
            ) from error
        if not settings.base_url:
            raise ConfigError("engine.base_url is empty.", "Set it to the server's address, ending in /v1.")
        if model.adapter:
            raise InputError(
                "An endpoint cannot load the candidate's adapter.", "Set engine.kind: vllm (or transformers)."
            )
        self._thinks = model.student.reasoning == "think"
        self._model = settings.served_model or model.student.model
        self._workers = settings.batch_size
        self._errors = openai.OpenAIError
        self._client = openai.OpenAI(
            base_url=settings.base_url, api_key=os.environ.get(settings.api_key_env) or "none", max_retries=6,
        )

    def generate(
        self,
        conversations: list[list[Turn]],
        settings: SamplingSettings,
        seed: int,
        advance: Callable[[int], None],
    ) -> list[Generation]:
        if any(opening_of(turns) for turns in conversations):
            # chat servers drop or rewrite thoughts in turns of the assistant, so none continues unchanged
            raise ConfigError(
                "An endpoint cannot be made to continue a thought (thinking controls).",
                "Set engine.kind: vllm (or transformers), or leave thinking out.",
            )

        def one(place: int) -> Generation:
            try:
                found = self._complete(conversations[place], settings, derived_seed(seed, "row", place))
            except self._errors as error:
                raise StageError(
                    f"The endpoint failed ({type(error).__name__}).",
                    "Check engine.base_url and the server, then start again; finished chunks are kept.",
                ) from error
            advance(1)
            return found

        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(one, range(len(conversations))))

    def _complete(self, turns: list[Turn], settings: SamplingSettings, seed: int) -> Generation:
        # top_k is not part of OpenAI's interface; vLLM, SGLang and llama.cpp accept it as an extra field
        extra: dict[str, Any] = {"top_k": settings.top_k or -1}
        answer = self._client.chat.completions.create(
            model=self._model, messages=turns, temperature=settings.temperature, top_p=settings.top_p,
            max_tokens=settings.max_tokens, seed=seed, n=1, extra_body=extra,
            timeout=ANSWER_SECONDS + settings.max_tokens * TOKEN_SECONDS,
        )
        choice, usage = answer.choices[0], answer.usage
        if choice.finish_reason not in ("stop", "length") or usage is None:
            raise StageError(
                f"The endpoint ended a response with {choice.finish_reason!r} or without token counts.",
                "Switch content filters and tools of the server off for sampling.",
            )
        extras = choice.message.model_extra or {}
        thought = extras.get("reasoning_content") or extras.get("reasoning")
        text = as_written(choice.message.content or "", thought, choice.finish_reason, thinks=self._thinks)
        return Generation(
            response=text, finish=choice.finish_reason, tokens=usage.completion_tokens,
            prompt_tokens=usage.prompt_tokens,
        )


def as_written(content: str, thought: str | None, finish: str, *, thinks: bool) -> str:
    """Return a response as the model wrote it, from the parts that a server returns.

    Args:
        content: Text after the thought; the whole response from a server without a reasoning parser.
        thought: The thought, from a server with one.
        finish: ``stop`` or ``length``.
        thinks: The model thinks, perhaps behind an opening tag that the chat template wrote.
    """
    if thought is not None:
        closing = f"\n{CLOSE}\n\n" if content or finish == "stop" else ""
        return f"{OPEN}\n{thought}{closing}{content}"
    return f"{OPEN}\n{content}" if thinks and CLOSE in content and OPEN not in content else content
