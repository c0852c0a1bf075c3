"""The transformers engine on the micro student: settings reach the sampler, equal seeds give equal samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.model import EngineSettings
from thinksafe.errors import InputError
from thinksafe.models.loading import resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines import Engine, Generation, open_engine
from thinksafe.sampling.engines.tokens import Codec
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

HOT = SamplingSettings(temperature=2.0, top_p=1.0, max_tokens=20)


def opened(reference: ModelReference, folder: Path, **engine: Any) -> Engine:
    return open_engine(EngineSettings(**({"batch_size": 4, "threads": 1} | engine)), reference, LocalStore(folder))


@pytest.fixture(scope="module")
def engine(micro_reference: ModelReference, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return opened(micro_reference, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def turns() -> list[list[dict[str, str]]]:
    from thinksafe.micro.world import prompts

    rows = [*prompts("train", "harmful", 4, 1), *prompts("train", "reasoning", 2, 1)]
    return [[{"role": "user", "content": row.prompt}] for row in rows]


def ignore(rows: int) -> None:
    pass


def texts(engine: Engine, turns: list[list[dict[str, str]]], settings: SamplingSettings, seed: int = 1) -> list[str]:
    return [made.response for made in engine.generate(turns, settings, seed, ignore)]


def test_equal_seeds_give_equal_samples(engine: Engine, turns: list[Any]) -> None:
    assert texts(engine, turns, HOT) == texts(engine, turns, HOT)
    assert texts(engine, turns, HOT) != texts(engine, turns, HOT, seed=2)


def test_responses_are_those_of_the_student(engine: Engine, turns: list[Any]) -> None:
    made = engine.generate(turns, SamplingSettings(temperature=0.6, max_tokens=72), 1, ignore)
    assert all(one.response.startswith("<think>") and "</think>" in one.response for one in made)
    assert not any("<eos>" in one.response or "<pad>" in one.response for one in made)
    assert {one.finish for one in made} == {"stop"}
    assert "the answer is" in made[-1].response
    assert all(0 < one.tokens < 72 and one.prompt_tokens > 3 for one in made)


@pytest.mark.parametrize(
    "narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}], ids=["top_k", "top_p", "temperature"]
)
def test_sampling_settings_reach_the_sampler(engine: Engine, turns: list[Any], narrow: dict[str, float]) -> None:
    """METHOD.md section 5: top_p and top_k that are given and never reach it."""
    greedy = texts(engine, turns, HOT.model_copy(update={"temperature": 0.0}))
    assert texts(engine, turns, HOT) != greedy
    assert texts(engine, turns, HOT.model_copy(update=narrow)) == greedy


def test_max_tokens_cuts(engine: Engine, turns: list[Any]) -> None:
    made = engine.generate(turns, HOT.model_copy(update={"max_tokens": 3}), 1, ignore)
    assert {(one.finish, one.tokens) for one in made} == {("length", 3)}


def test_batches_are_reported_and_kept_in_order(engine: Engine, turns: list[Any]) -> None:
    steps: list[int] = []
    greedy = SamplingSettings(temperature=0.0, max_tokens=30)
    made = engine.generate(turns, greedy, 1, steps.append)
    assert steps == [4, 2]
    alone = [engine.generate([turn], greedy, 1, ignore)[0] for turn in turns]
    assert [one.response for one in made] == [one.response for one in alone], "padding changes no response"
    assert [one.prompt_tokens for one in made] == [one.prompt_tokens for one in alone]


def test_no_conversations(engine: Engine) -> None:
    assert engine.generate([], HOT, 1, ignore) == []


def test_the_makers_generation_config_does_not_shape_samples(
    micro_reference: ModelReference, tmp_path: Path, engine: Engine, turns: list[Any]
) -> None:
    """Samples would stand under settings that they were not drawn with."""
    folder = tmp_path / "student"
    shutil.copytree(resolve_student(micro_reference.student).path_or_id, folder)
    config = json.loads((folder / "generation_config.json").read_text())
    config |= {
        "repetition_penalty": 50.0, "no_repeat_ngram_size": 1, "min_p": 0.5, "top_k": 1, "bad_words_ids": [[50]],
        "suppress_tokens": list(range(20, 200)), "forced_eos_token_id": 7,
    }
    (folder / "generation_config.json").write_text(json.dumps(config))
    student = StudentSettings(model=str(folder), dtype="float32")
    reference = ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)
    other = opened(reference, tmp_path)
    for settings in (HOT, SamplingSettings(temperature=0.0, max_tokens=20)):
        assert texts(other, turns, settings) == texts(engine, turns, settings)


def test_prefilled_think_tag_is_put_back(student_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """R1-Distill: the template opens the thought, so that the model's own text has the closing tag only."""
    student = StudentSettings(model=str(student_folder("r1")), dtype="float32")
    reference = ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)
    (made,) = opened(reference, tmp_path).generate([[{"role": "user", "content": "x"}]], HOT, 1, ignore)
    assert made.response.startswith("<think>\n")


@pytest.mark.parametrize("kind", ["qwen", "r1"])
def test_a_response_goes_on_from_its_opening(
    student_folder: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    """Also where the template opens the thought by itself: no thought is opened twice."""
    student = StudentSettings(model=str(student_folder(kind)), dtype="float32")
    reference = ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)
    codec = Codec(reference)
    user = {"role": "user", "content": "x"}
    opening = "<think>\n\n</think>\n\n"
    text = codec.tokenizer.decode(codec.encode([user, {"role": "assistant", "content": opening}]))
    assert text.endswith(opening)
    assert text.count("<think>") == text.count("</think>") == 1
    free = codec.tokenizer.decode(codec.encode([user]))
    assert text.removesuffix(opening) == free.removesuffix("<think>\n")
    conversations = [[user, {"role": "assistant", "content": opening}], [user]]
    made = opened(reference, tmp_path).generate(conversations, HOT, 1, ignore)
    assert made[0].response.startswith(opening)
    assert not made[1].response.startswith(opening)
    assert made[0].tokens <= HOT.max_tokens


def test_a_model_that_cannot_think_is_refused_before_it_is_loaded(
    student_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    student = StudentSettings(model=str(student_folder("llama")), dtype="float32")
    reference = ModelReference(role="base", student=student, base_digest=resolve_student(student).digest)
    with pytest.raises(InputError, match="does not know </think>"):
        opened(reference, tmp_path)


def test_generation_is_a_value() -> None:
    assert Generation("r", "stop", 1, 2) == Generation("r", "stop", tokens=1, prompt_tokens=2)


def test_likelihoods_are_those_of_the_models_own_distributions(engine: Any, turns: list[Any]) -> None:
    import torch

    made = engine.generate(turns, HOT, 1, ignore)
    found = engine.likelihoods([(each, one.ids) for each, one in zip(turns, made, strict=True)])
    model, codec = engine._model, engine._codec
    for conversation, one, nll in zip(turns, made, found, strict=True):
        prompt = codec.ids(conversation)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + list(one.ids)])).logits[0].double().log_softmax(-1)
        own = [float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(one.ids)]
        assert nll == pytest.approx(-sum(own) / len(own), rel=1e-4, abs=1e-5)
        assert one.tokens == len(one.ids)
    greedy = engine.generate(turns, SamplingSettings(temperature=0.0, max_tokens=20), 1, ignore)
    likely = engine.likelihoods([(each, one.ids) for each, one in zip(turns, greedy, strict=True)])
    assert sum(likely) < sum(found)
    assert engine.likelihoods([(turns[0], ())]) == [None]
    assert engine.likelihoods([(turns[0], made[0].ids * 10_000)]) == [None], "it does not fit"
