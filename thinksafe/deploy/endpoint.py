"""The client of the served model's OpenAI-compatible interface."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from thinksafe.config.deploy import DeploySettings
from thinksafe.deploy.manifests import PORT
from thinksafe.errors import ConfigError
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines.endpoint import ANSWER_SECONDS, TOKEN_SECONDS, as_written

WORKERS = 8
"""Concurrent requests."""
RETRY_SECONDS = 30.0
"""How long a request without a useful answer is retried: routes to new pods take a moment."""
_PASSING = frozenset({404, 408, 429, 500, 502, 503, 504})


class UnansweredError(Exception):
    """The served model gave no usable answer; the message says why and never contains model text."""


class Reply(NamedTuple):
    """One response."""

    text: str
    """As the model wrote it, thought included."""
    finish: str


def address_of(settings: DeploySettings, url: str) -> str:
    """Return the address of the served model: from the settings, or else from the cluster, or else the Service."""
    if settings.base_url:
        return settings.base_url.rstrip("/")
    return f"{url.rstrip('/') or _service(settings)}/v1"


def _service(settings: DeploySettings) -> str:
    """Return the address of the Service; with KServe, of the one that it creates."""
    name, domain = settings.name, f"{settings.namespace}.svc"
    if settings.kind == "inference-service":
        return f"http://{name}-predictor.{domain}"
    if settings.kind == "llm-inference-service":
        return f"{'https' if settings.kserve_tls else 'http'}://{name}-kserve-workload-svc.{domain}:{PORT}"
    return f"http://{name}.{domain}:{PORT}"


class Endpoint:
    """An OpenAI-compatible server.

    Args:
        address: Ends in ``/v1``.
        settings: Name of the served model and the variable that holds the key.
        retry_seconds: How long a request without a useful answer is retried.
    """

    def __init__(self, address: str, settings: DeploySettings, retry_seconds: float = RETRY_SECONDS) -> None:
        import urllib3

        self.address, self.model = address, settings.name
        self._seconds = retry_seconds
        self._pool = urllib3.PoolManager(maxsize=WORKERS, retries=False)
        self._headers = {"Content-Type": "application/json"}
        if settings.api_key_env:
            key = os.environ.get(settings.api_key_env, "").strip()
            if not key:
                raise ConfigError(f"deploy.api_key_env names {settings.api_key_env}, which is not set.", "Set it.")
            self._headers["Authorization"] = f"Bearer {key}"

    def served(self) -> dict[str, str]:
        """Return what each served model name stands for: the path of its weights or adapter. Raises UnansweredError."""
        found = self._ask("GET", "models", None, ANSWER_SECONDS)
        try:
            return {str(card["id"]): str(card.get("root") or "") for card in found["data"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise UnansweredError("its list of models is malformed") from error

    def complete(self, prompt: str, settings: SamplingSettings, seed: int, *, thinks: bool) -> Reply:
        """Return the served model's response to one prompt. Raises UnansweredError."""
        found = self._ask("POST", "chat/completions", {
            "model": self.model, "messages": [{"role": "user", "content": prompt}], "n": 1, "seed": seed,
            "temperature": settings.temperature, "top_p": settings.top_p, "top_k": settings.top_k or -1,
            "max_tokens": settings.max_tokens,
        }, ANSWER_SECONDS + settings.max_tokens * TOKEN_SECONDS)
        try:
            choice = found["choices"][0]
            text, finish = as_written(choice["message"], thinks=thinks), choice["finish_reason"]
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise UnansweredError("a response is malformed") from error
        if finish not in ("stop", "length"):
            raise UnansweredError("a response ended neither by itself nor by its length")
        return Reply(text, finish)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> Any:
        import tenacity
        import urllib3
        from urllib3.exceptions import HTTPError

        def attempt() -> Any:
            response = self._pool.request(
                method, f"{self.address}/{path}", headers=self._headers,
                body=None if body is None else json.dumps(body), timeout=urllib3.Timeout(connect=5.0, read=seconds),
            )
            if response.status in _PASSING:
                raise _Passing(f"HTTP {response.status}")
            if response.status != 200:
                raise UnansweredError(f"{self.address} answers HTTP {response.status}")
            return json.loads(response.data)

        try:
            return tenacity.Retrying(
                retry=tenacity.retry_if_exception_type((_Passing, HTTPError, OSError)), reraise=True,
                wait=tenacity.wait_random_exponential(multiplier=0.25, max=5.0),
                stop=tenacity.stop_after_delay(self._seconds),
            )(attempt)
        except (_Passing, HTTPError, OSError) as error:
            what = str(error) if isinstance(error, _Passing) else type(error).__name__
            raise UnansweredError(f"{self.address} does not answer ({what})") from error
        except ValueError as error:
            raise UnansweredError("an answer is not JSON") from error


class _Passing(Exception):
    """An answer that may be different in a moment."""
