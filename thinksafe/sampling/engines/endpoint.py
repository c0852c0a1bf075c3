"""Generation through an OpenAI-compatible endpoint, for teams that already serve their student."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from thinksafe.config.model import EngineSettings
from thinksafe.digests import derived_seed
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.base import Generation, Turn, opening_of
from thinksafe.store import Store
from thinksafe.traces import CLOSE, OPEN, split

ANSWER_SECONDS = 600.0
TOKEN_SECONDS = 0.05
"""Time limit of a request, and extra time per token that it may write: a loaded server is slow."""


class EndpointEngine:
    """``/v1/chat/completions`` with one seed per conversation.

    A server with a reasoning parser returns thought and answer separately; they are joined again as the model wrote
    them. An endpoint serves the model it was started with, so it can sample the student but not what was trained.
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
        if (trained := model.trained) is not None:
            raise InputError(
                f"An endpoint cannot load the candidate's {trained.noun}.", "Set engine.kind: vllm (or transformers)."
            )
        self._thinks = model.student.reasoning == "think"
        self._model = settings.served_model or model.student.model
        self._workers = settings.batch_size
        self._errors, self._refusal = openai.OpenAIError, openai.BadRequestError
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
            except self._refusal as error:
                # the server's message may quote the prompt
                size = sum(len(turn["content"]) for turn in conversations[place])
                raise InputError(
                    f"The endpoint refused a conversation of {size:,} characters (HTTP 400).",
                    "It is probably longer than the server's context: leave long prompts out, or raise its "
                    "max_model_len.",
                ) from error
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
        said = {"content": choice.message.content, **(choice.message.model_extra or {})}
        try:
            text = as_written(said, thinks=self._thinks)
        except TypeError as error:
            raise StageError(
                f"The endpoint's message is malformed: {error}.", "Let it return texts (no tools, no content parts)."
            ) from error
        return Generation(
            response=text, finish=choice.finish_reason, tokens=usage.completion_tokens,
            prompt_tokens=usage.prompt_tokens,
        )


def as_written(message: Mapping[str, Any], *, thinks: bool) -> str:
    """Return a response as the model wrote it, from the fields of a server's message.

    ``content`` alone is the whole response, of a server without a reasoning parser. With one, ``reasoning_content`` or
    ``reasoning`` is the thought. Nothing beside a thought means that the model did not close it, or wrote no answer;
    servers do not tell these apart, so the thought stays open.

    Args:
        message: Fields of the message; None and empty texts mean the same.
        thinks: The model thinks, perhaps behind an opening tag that the chat template wrote.

    Raises:
        TypeError: a field is no text; its message names the field.
    """
    for name in ("content", "reasoning_content", "reasoning"):
        if not isinstance(message.get(name) or "", str):
            raise TypeError(f"{name} is no text")
    content = message.get("content") or ""
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    own = split(content, "think")
    # some servers hand over the thought and leave it in the content as well
    if thought and not (own.thought is not None and own.thought.strip() == thought.strip()):
        return f"{OPEN}\n{thought}\n{CLOSE}\n\n{content}" if content else f"{OPEN}\n{thought}"
    # the first closing tag ends the thought, whatever the answer says about tags
    opens = thinks and own.complete and not content.lstrip().startswith(OPEN)
    return f"{OPEN}\n{content}" if opens else content
