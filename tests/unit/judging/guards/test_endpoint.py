"""Guards that a server runs: the same ids go out, and the same opinions come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_guards
from guard_server import GuardServer, guard_server
from pydantic import ValidationError
from tiny_guards import settings_for

from thinksafe.config import load_config, sections_of
from thinksafe.config.gpus import gpus_needed
from thinksafe.config.guard import GuardSettings
from thinksafe.errors import ConfigError, StageError
from thinksafe.judging.guards import open_guard
from thinksafe.judging.guards.backends import TransformersBackend
from thinksafe.judging.guards.endpoint import EndpointBackend
from thinksafe.records import Prompt

ROWS = [(Prompt(id="p", prompt=f"Question {i}?", label="harmful", source="t"), "Mix flour.") for i in range(3)]


@pytest.fixture(params=["qwen3guard", "gpt-oss-safeguard"])
def served(request: Any, tmp_path: Path) -> Iterator[tuple[Any, GuardServer]]:
    """A guard on transformers, and a server of it."""
    folder = tiny_guards.write_guard(request.param, tmp_path)
    guard: Any = open_guard(settings_for(request.param, folder))
    with guard_server(TransformersBackend(guard.settings, guard.model)) as server:
        yield guard, server


def over(guard: Any, server: GuardServer, **more: Any) -> Any:
    fields = {"backend": "endpoint", "base_url": server.url, "served_model": "guard"} | more
    return open_guard(GuardSettings.model_validate(guard.settings.model_dump() | fields))


def said(guard: Any) -> list[tuple[Any, ...]]:
    """Return what a guard says, to the digits that do not depend on the batch."""
    return [(one.verdict, one.refusal, one.categories, round(one.p_unsafe, 4)) for one in guard.judge(ROWS)]


def test_opinions_are_those_of_the_same_weights_here(
    served: tuple[Any, GuardServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, server = served
    monkeypatch.setenv("GUARD_KEY", "secret")
    remote = over(guard, server, api_key_env="GUARD_KEY")
    assert said(remote) == said(guard)
    prompts = [guard.encoder.encode(prompt.prompt, text).ids for prompt, text in ROWS]
    assert {body["model"] for body in server.asked} == {"guard"}
    asked = {tuple(body["prompt"]) for body in server.asked}
    assert all(any(sent[: len(ids)] == ids for sent in asked) for ids in prompts)
    assert set(server.headers) == {"Bearer secret"}
    assert all(body.get("skip_special_tokens") is False for body in server.asked if not body.get("logprobs"))


def test_the_address_does_not_identify_verdicts(served: tuple[Any, GuardServer]) -> None:
    guard, server = served
    remote = over(guard, server)
    assert remote.fingerprint == over(guard, server, base_url="http://elsewhere/v1", served_model="").fingerprint
    assert remote.fingerprint != guard.fingerprint, "other software ran it"


def test_requests_that_fail_for_a_moment_are_tried_again(served: tuple[Any, GuardServer]) -> None:
    guard, server = served
    server.failures += [503, 429]
    assert said(over(guard, server)) == said(guard)


@pytest.mark.parametrize(("failure", "match"), [(400, "answers HTTP 400"), (503, r"does not answer \(HTTP 503\)")])
def test_a_request_that_fails_is_an_error(failure: int, match: str) -> None:
    with guard_server(None) as server:
        server.failures += [failure] * 99
        settings = GuardSettings(kind="qwen3guard", backend="endpoint", base_url=server.url)
        with pytest.raises(StageError, match=match):
            EndpointBackend(settings, retry_seconds=0.1).complete([(1, 2)], 3)


def test_a_server_that_does_not_give_token_ids_is_refused(served: tuple[Any, GuardServer]) -> None:
    _, server = served
    server.ids = False
    settings = GuardSettings(kind="qwen3guard", backend="endpoint", base_url=server.url)
    with pytest.raises(StageError, match="does not give log-probabilities by token id"):
        EndpointBackend(settings).next_token_logprobs([(1, 2)], 20)


def test_settings_that_do_not_belong_together_are_refused() -> None:
    for fields in ({"backend": "endpoint"}, {"base_url": "http://x/v1"}):
        with pytest.raises(ValidationError, match="base_url: the address of the endpoint"):
            GuardSettings.model_validate({"kind": "qwen3guard"} | fields)
    settings = GuardSettings(kind="qwen3guard", backend="endpoint", base_url="http://x/v1", api_key_env="NOT_SET_HERE")
    with pytest.raises(ConfigError, match="NOT_SET_HERE, which is not set"):
        EndpointBackend(settings)


def test_the_server_changes_no_suite_and_needs_no_gpu() -> None:
    text = "extends: qwen3-0.6b\nguard: {evaluate: {kind: qwen3guard, backend: endpoint, base_url: 'http://%s/v1'}}\n"
    one, two = (sections_of(load_config(text % host)).metrics.suite for host in ("a", "b"))
    assert one == two
    other = "{kind: granite-guardian-3.3, backend: endpoint, base_url: 'http://a/v1'}"
    config = load_config(text % "a", [f"guard.filter={other}"])
    needed = gpus_needed({"engine": config.engine, "guard": config.guard})
    assert "judge" not in needed
