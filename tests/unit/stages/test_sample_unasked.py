"""sample: responses that no model writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from thinksafe.config.sections import SampleSection
from thinksafe.errors import InputError
from thinksafe.records import Prompt, Sample
from thinksafe.run.manifests import read_rows
from thinksafe.store.local import LocalStore


def test_a_response_for_all_prompts_is_written_without_a_model(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore
) -> None:
    section = sample_section(
        arms={"harmful": ("template",), "benign": ("plain",)}, template="", written="<think>no</think>Sorry.", n=3
    )
    result, manifest = ask(section)
    rows = list(read_rows(store, manifest, Sample))
    harmful = [row for row in rows if row.prompt.label == "harmful"]
    assert {(row.response, row.arm, row.finish, row.tokens) for row in harmful} == {
        ("<think>no</think>Sorry.", "template", "stop", 0)
    }
    assert len(harmful) == len({row.prompt.id for row in harmful}), "one a prompt, whatever n says"
    asked = [turn for turns, _, _ in scripted_engine.calls for turn in turns]
    assert not set(asked) & {row.prompt.prompt for row in harmful}
    assert result.counts["tokens"] == sum(row.tokens for row in rows if row.arm == "plain")
    ask(sample_section(arms={"harmful": ("template",), "benign": ()}, template="", written="<think>a</think>b"))
    assert [turn for turns, _, _ in scripted_engine.calls for turn in turns] == asked, "no engine for such rows alone"


def test_given_responses_become_samples(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], store: LocalStore, prompts: list[Prompt],
    scripted_engine: Any,
) -> None:
    section = sample_section(arms={"harmful": ("given",), "benign": ("given",)}, template="", n=3, n_reasoning=3)
    rows = [row.model_copy(update={"response": f"<think>hm</think>For {row.id}."}) for row in prompts]
    _, manifest = ask(section, rows=rows)
    found = list(read_rows(store, manifest, Sample))
    assert {(row.id, row.response) for row in found} == {
        (f"{row.id}/given/0", f"<think>hm</think>For {row.id}.") for row in prompts
    }
    assert not scripted_engine.calls
    _, other = ask(section, rows=[row.model_copy(update={"response": "<think>hm</think>Other."}) for row in prompts])
    assert other.digest != manifest.digest, "the response determines the chunk"
    with pytest.raises(InputError, match=f"The prompt '{min(row.id for row in prompts)}' has no response"):
        ask(section)
    with pytest.raises(InputError, match=r"None of the .* given responses has a thought"):
        ask(section, rows=[row.model_copy(update={"response": "No thought."}) for row in prompts])


def test_prompts_that_training_samples_are_rows_without_a_response(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], store: LocalStore, prompts: list[Prompt],
    scripted_engine: Any,
) -> None:
    section = sample_section(arms={"harmful": ("rollout",), "benign": ("rollout",)}, template="", n=3)
    result, manifest = ask(section)
    assert {(row.id, row.arm, row.response, row.tokens) for row in read_rows(store, manifest, Sample)} == {
        (f"{row.id}/rollout/0", "rollout", "", 0) for row in prompts
    }
    assert (result.counts["tokens"], scripted_engine.calls) == (0, [])
