"""A guard that a vLLM server already serves: token ids in, token ids and log-probabilities out.

``/v1/completions`` takes the same ids as the other back ends, so no template of the server has a say. It must give
tokens as ids (``return_tokens_as_token_ids``), which vLLM does and most other servers do not.
"""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from thinksafe.config.model import GuardSettings
from thinksafe.errors import ConfigError, StageError
from thinksafe.judging.guards.backends import Ids, seed_of

RETRY_SECONDS = 60.0
"""How long a request is tried again."""
ANSWER_SECONDS = 600.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_TOKEN = re.compile(r"token_id:(\d+)")


class EndpointBackend:
    """``settings.batch_size`` requests at a time. See :class:`thinksafe.judging.guards.backends.Backend`.

    Raises:
        ConfigError: the variable that should hold the key is not set.
    """

    def __init__(self, settings: GuardSettings, retry_seconds: float = RETRY_SECONDS) -> None:
        import urllib3

        self._address, self._seconds = settings.base_url.rstrip("/"), retry_seconds
        self._model, self._workers = settings.served_model or settings.model, settings.batch_size
        self._pool = urllib3.PoolManager(maxsize=self._workers, retries=False)
        self._headers = {"Content-Type": "application/json"}
        if settings.api_key_env:
            key = os.environ.get(settings.api_key_env, "").strip()
            if not key:
                raise ConfigError(f"A guard's api_key_env names {settings.api_key_env}, which is not set.", "Set it.")
            self._headers["Authorization"] = f"Bearer {key}"

    def next_token_logprobs(self, prompts: list[Ids], k: int) -> list[dict[int, float]]:
        options = {"max_tokens": 1, "temperature": 0.0, "logprobs": k, "return_tokens_as_token_ids": True}
        return [self._logprobs(choices[0]) for choices in self._all(prompts, [options] * len(prompts))]

    def complete(self, prompts: list[Ids], max_tokens: int) -> list[str]:
        options = {"max_tokens": max_tokens, "temperature": 0.0, **_AS_WRITTEN}
        return [str(choices[0]["text"]) for choices in self._all(prompts, [options] * len(prompts))]

    def sample(self, prompts: list[Ids], max_tokens: int, n: int) -> list[list[str]]:
        options = {"max_tokens": max_tokens, "temperature": 1.0, "n": n, **_AS_WRITTEN}
        answers = self._all(prompts, [options | {"seed": seed_of(ids)} for ids in prompts])
        return [[str(choice["text"]) for choice in choices] for choices in answers]

    def _logprobs(self, choice: dict[str, Any]) -> dict[int, float]:
        try:
            top: dict[str, float] = choice["logprobs"]["top_logprobs"][0]
            return {int(_TOKEN.fullmatch(name)[1]): float(value) for name, value in top.items()}  # type: ignore[index]
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise StageError(
                f"The guard's endpoint {self._address} does not give log-probabilities by token id.",
                "Serve the guard with vLLM, or set backend: vllm.",
            ) from error

    def _all(self, prompts: list[Ids], options: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        bodies = [{"model": self._model, "prompt": list(ids), **of} for ids, of in zip(prompts, options, strict=True)]
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._ask, bodies))

    def _ask(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        import tenacity
        import urllib3
        from urllib3.exceptions import HTTPError

        def attempt() -> Any:
            response = self._pool.request(
                "POST", f"{self._address}/completions", headers=self._headers, body=json.dumps(body),
                timeout=urllib3.Timeout(connect=5.0, read=ANSWER_SECONDS),
            )
            if response.status in _PASSING:
                raise _PassingError(f"HTTP {response.status}")
            if response.status != 200:
                raise self._failed(f"answers HTTP {response.status}")
            return json.loads(response.data)

        try:
            choices = tenacity.Retrying(
                retry=tenacity.retry_if_exception_type((_PassingError, HTTPError, OSError)), reraise=True,
                wait=tenacity.wait_random_exponential(multiplier=0.25, max=5.0),
                stop=tenacity.stop_after_delay(self._seconds),
            )(attempt)["choices"]
            if len(choices) == body.get("n", 1):
                return sorted(choices, key=lambda choice: choice["index"])
        except (_PassingError, HTTPError, OSError) as error:
            what = str(error) if isinstance(error, _PassingError) else type(error).__name__
            raise self._failed(f"does not answer ({what})") from error
        except (ValueError, KeyError, TypeError):
            pass
        raise self._failed("gives a malformed answer")

    def _failed(self, what: str) -> StageError:
        return StageError(
            f"The guard's endpoint {self._address} {what}.",
            "Check base_url, served_model and the server, then start again; finished chunks are kept.",
        )


# control tokens are kept: an answer with one in the middle must not look like a proper answer
_AS_WRITTEN = {"skip_special_tokens": False, "spaces_between_special_tokens": False}


class _PassingError(Exception):
    """An answer that may be different in a moment."""
