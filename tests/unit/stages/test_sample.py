"""sample: the same samples from any number of workers, kept over kills, keyed by all that makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thinksafe.config.model import EngineSettings
from thinksafe.config.sections import SampleSection
from thinksafe.errors import InputError
from thinksafe.jsonl import write_json
from thinksafe.models.references import ModelReference
from thinksafe.records import Prompt, Sample, SamplingSettings
from thinksafe.run.formats import FORMATS
from thinksafe.run.manifests import read_rows
from thinksafe.run.record import StageContext, list_records
from thinksafe.sampling.engines import Batch, Generation
from thinksafe.stages import sample
from thinksafe.store.local import LocalStore


def test_rows_of_a_chunk(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore
) -> None:
    result, manifest = ask(sample_section())
    rows = list(read_rows(store, manifest, Sample))
    # in id order; harmful ones in both arms, problems n_reasoning times
    assert [row.id for row in rows] == [
        "b-0/plain/0", "b-1/plain/0", "h-0/plain/0", "h-0/steered/0",
        "h-1/plain/0", "h-1/steered/0", "h-2/plain/0", "h-2/steered/0", "p-0/plain/0", "p-0/plain/1",
        "p-1/plain/0", "p-1/plain/1",
    ]
    assert [chunk.rows for chunk in manifest.chunks] == [4, 6, 2]
    assert [len(turns) for turns, _, _ in scripted_engine.calls] == [4, 6, 2]
    assert result.counts == {
        "rows": 12, "chunks": 3, "chunks_reused": 0, "responses": 12, "tokens": 84, "tokens_new": 84, "truncated": 0
    }
    assert len({row.seed for row in rows}) == 3, "each chunk has its own seed"


def test_settings_reach_the_engine_and_stand_on_every_row(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore
) -> None:
    settings = SamplingSettings(temperature=0.7, top_p=0.8, top_k=9, max_tokens=11)
    _, manifest = ask(sample_section(settings=settings))
    assert {row.settings for row in read_rows(store, manifest, Sample)} == {settings}
    assert {given for _, given, _ in scripted_engine.calls} == {settings}


def test_problems_have_their_own_settings(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore
) -> None:
    settings, own = SamplingSettings(max_tokens=11), SamplingSettings(max_tokens=22)
    section = sample_section(settings=settings, settings_reasoning=own, chunk_size=7)
    _, manifest = ask(section)
    rows = list(read_rows(store, manifest, Sample))
    assert [row.prompt.id for row in rows] == sorted(row.prompt.id for row in rows), "still in id order"
    for row in rows:
        assert row.settings == (own if row.prompt.answer is not None else settings)
    # the engine is asked once for each, and every answer finds its row
    assert [(len(turns), given) for turns, given, _ in scripted_engine.calls] == [(8, settings), (4, own)]
    places = [int(row.response.removeprefix("<think>").split()[0]) for row in rows]
    assert places == [*range(8), *range(4)]


def test_the_rows_of_a_machine_that_was_first_are_taken(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both found no chunk and sampled; another processor gave other texts and counts."""
    first, manifest = ask(sample_section())
    generate = scripted_engine.generate
    monkeypatch.setattr(
        scripted_engine, "generate",
        lambda *args: [replace(made, response=made.response + "!", tokens=3) for made in generate(*args)],
    )
    monkeypatch.setattr("thinksafe.work.complete.find_chunk", lambda *args: None)
    second, again = ask(sample_section())
    assert again == manifest
    assert second.counts == first.counts


def test_settings_of_problems_determine_the_chunks(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any
) -> None:
    _, first = ask(sample_section())
    _, second = ask(sample_section(settings_reasoning=SamplingSettings(max_tokens=22)))
    assert first.chunks != second.chunks


def test_steering_is_asked_and_never_stored(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore,
    prompts: list[Prompt],
) -> None:
    _, manifest = ask(sample_section())
    asked = [turn for turns, _, _ in scripted_engine.calls for turn in turns]
    rows = list(read_rows(store, manifest, Sample))
    for row, turn in zip(rows, asked, strict=True):
        assert (row.arm == "steered") == turn.startswith("The following prompt is harmful.")
        assert turn.endswith(row.prompt.prompt)
        assert row.arm == "steered" or turn == row.prompt.prompt
    assert {row.prompt for row in rows} == set(prompts)
    stored = b"".join(store.get(key) for key in store.keys("chunks/"))
    assert b"You should refuse" not in stored


@pytest.mark.parametrize("parallelism", [2, 3, 50])
def test_the_number_of_workers_changes_no_sample(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, tmp_path: Path,
    parallelism: int,
) -> None:
    one, many = LocalStore(tmp_path / "one"), LocalStore(tmp_path / "many")
    alone, whole = ask(sample_section(), store=one)
    shared, same = ask(sample_section(), parallelism, store=many)
    assert same == whole
    assert shared.counts == alone.counts
    assert list(read_rows(one, whole, Sample)) == list(read_rows(many, same, Sample))


def test_real_samples_do_not_depend_on_the_number_of_workers(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], tmp_path: Path, micro_prompts: list[Prompt]
) -> None:
    section = sample_section()
    _, whole = ask(section, rows=micro_prompts, store=LocalStore(tmp_path / "one"))
    _, shared = ask(section, 2, rows=micro_prompts, store=LocalStore(tmp_path / "two"))
    assert shared.digest == whole.digest, "bit-equal rows from another process order"
    rows = list(read_rows(LocalStore(tmp_path / "one"), whole, Sample))
    assert any(row.response.startswith("<think>") for row in rows)
    assert len({row.response for row in rows}) > 3


class Streaming:
    """An engine that ends the batches it has under way in reverse order."""

    window = 4

    def __init__(self) -> None:
        self.most = 0

    def generate(self, *given: Any) -> list[Generation]:
        raise AssertionError("a streaming engine is asked to stream")

    def stream(self, batches: Any) -> Any:
        waiting: list[tuple[int, Batch]] = []
        for place, batch in enumerate(batches):
            waiting.append((place, batch))
            self.most = max(self.most, len(waiting))
            if len(waiting) == self.window:
                yield self._answer(waiting.pop())
        while waiting:
            yield self._answer(waiting.pop())

    def _answer(self, asked: tuple[int, Batch]) -> tuple[int, list[Generation]]:
        place, batch = asked
        batch.advance(len(batch.conversations))
        return place, [
            Generation(f"<think>{row} of seed {batch.seed}</think>Sure.", "stop", tokens=7, prompt_tokens=3)
            for row, _ in enumerate(batch.conversations)
        ]


def test_an_engine_with_several_chunks_under_way_gives_the_same_samples(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], make_prompt: Callable[..., Prompt],
    scripted_engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    rows = [make_prompt(f"b-{number:02}") for number in range(12)]
    _, whole = ask(sample_section(chunk_size=1), rows=rows)
    engine = Streaming()
    monkeypatch.setattr(sample, "open_engine", lambda *_: engine)
    _, streamed = ask(sample_section(chunk_size=1), rows=rows, store=LocalStore(tmp_path / "streamed"))
    _, shared = ask(sample_section(chunk_size=1), 2, rows=rows, store=LocalStore(tmp_path / "shared"))
    assert streamed == shared == whole
    assert engine.most == engine.window


def test_other_order_of_prompts_gives_the_same_samples(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, prompts: list[Prompt]
) -> None:
    _, first = ask(sample_section())
    result, second = ask(sample_section(), rows=prompts[::-1])
    assert first == second
    assert result.counts["chunks_reused"] == 3


def test_a_killed_stage_loses_only_its_chunk(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore
) -> None:
    scripted_engine.fail_at = 1
    with pytest.raises(KeyboardInterrupt):
        ask(sample_section())
    assert len(scripted_engine.calls) == 1
    assert list_records(store, "run-1").found["sample"].status == "failed"
    scripted_engine.fail_at = None
    result, manifest = ask(sample_section())
    assert len(scripted_engine.calls) == 3, "the first chunk was not made again"
    assert (result.counts["chunks_reused"], result.counts["tokens"], result.counts["tokens_new"]) == (1, 84, 56)
    asked = [turn for turns, _, _ in scripted_engine.calls for turn in turns]
    assert len(asked) == len(set(asked)) + 2, "problems are asked twice, nothing else"
    assert manifest.rows == 12


def test_a_finished_set_is_not_made_again(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any
) -> None:
    _, first = ask(sample_section())
    result, second = ask(sample_section(), run_id="another-run")
    assert first == second
    assert (len(scripted_engine.calls), scripted_engine.opened) == (3, 1), "not even the model is loaded"
    assert (result.counts["chunks_reused"], result.counts["tokens_new"]) == (3, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"settings": SamplingSettings(max_tokens=25)},
        {"settings": SamplingSettings(max_tokens=24, top_p=0.9)},
        {"engine": EngineSettings(batch_size=4, threads=1)},
        {"n_reasoning": 3},
        {"settings_reasoning": SamplingSettings(max_tokens=25)},
        {"arms": {"harmful": ("plain",), "benign": ("plain",)}},
        {"reasoning": "none"},
    ],
)
def test_key_changes_with_all_that_makes_a_sample(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, change: dict[str, Any]
) -> None:
    _, first = ask(sample_section())
    result, second = ask(sample_section(**change))
    assert result.counts["chunks_reused"] == 0
    assert not {chunk.key for chunk in first.chunks} & {chunk.key for chunk in second.chunks}


@pytest.mark.parametrize(
    "changed", ["steering template", "code", "libraries", "model", "adapter", "prompt", "turns", "opening", "options"]
)
def test_key_changes_with_template_code_model_and_prompts(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, micro_reference: ModelReference, prompts: list[Prompt],
    changed: str,
) -> None:
    _, first = ask(sample_section())
    given: dict[str, Any] = {}
    if changed == "steering template":
        monkeypatch.setattr(sample, "steering_template", lambda name: "Please refuse: {prompt}")
    elif changed == "code":
        monkeypatch.setitem(FORMATS, "sample", replace(FORMATS["sample"], number=99))
    elif changed == "libraries":
        monkeypatch.setattr(sample, "model_library_versions", lambda *, vllm: {"torch": "9.9"})
    elif changed == "prompt":
        given["rows"] = [row.model_copy(update={"prompt": row.prompt + " "}) for row in prompts]
    elif changed in ("turns", "opening", "options"):
        update: dict[str, Any] = {"turns": ("Hello.", "How?"), "opening": "<think>\n", "options": 4}
        given["rows"] = [row.model_copy(update={changed: update[changed]}) for row in prompts]
    else:
        update = {"base_digest": "other"} if changed == "model" else {"adapter": "a", "adapter_digest": "other"}
        given["model"] = tmp_path / "other.json"
        write_json(given["model"], micro_reference.model_copy(update=update))
    result, second = ask(sample_section(), **given)
    assert result.counts["chunks_reused"] == 0
    assert not {chunk.key for chunk in first.chunks} & {chunk.key for chunk in second.chunks}


def test_the_role_of_a_model_does_not_change_the_key(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, tmp_path: Path,
    micro_reference: ModelReference,
) -> None:
    ask(sample_section())
    write_json(tmp_path / "champion.json", micro_reference.model_copy(update={"role": "champion"}))
    result, _ = ask(sample_section(), model=tmp_path / "champion.json")
    assert result.counts["chunks_reused"] == 3


def test_one_changed_prompt_costs_one_chunk(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, prompts: list[Prompt]
) -> None:
    ask(sample_section())
    rows = [row.model_copy(update={"prompt": "Another?"}) if row.id == "b-0" else row for row in prompts]
    result, _ = ask(sample_section(), rows=rows)
    assert result.counts["chunks_reused"] == 2


def test_truncated_samples_are_counted(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], micro_prompts: list[Prompt],
    store: LocalStore,
) -> None:
    result, manifest = ask(sample_section(settings=SamplingSettings(max_tokens=2)), rows=micro_prompts)
    rows = list(read_rows(store, manifest, Sample))
    assert {row.finish for row in rows} == {"length"}
    assert {row.tokens for row in rows} == {2}
    assert result.counts["truncated"] == len(rows)


@pytest.mark.parametrize("error", [RuntimeError, InputError])
def test_an_error_of_the_engine_is_an_error(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore,
    error: type[Exception],
) -> None:
    """METHOD.md section 5: an outage must not become a stock refusal that is scored as safety."""
    scripted_engine.fail_at = 0
    scripted_engine.error = error if error is RuntimeError else lambda text: InputError(text, "Do.")
    with pytest.raises(error):
        ask(sample_section())
    assert not store.keys("chunks/")
    assert not Path(store.root).parent.joinpath("samples-0-of-1.json").exists()


def test_an_engine_that_loses_a_response_is_an_error(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate = scripted_engine.generate
    monkeypatch.setattr(scripted_engine, "generate", lambda *args: generate(*args)[:-1])
    with pytest.raises(ValueError, match="zip"):
        ask(sample_section())
    assert not store.keys("chunks/")


def test_an_absent_model_gives_an_absent_manifest(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any, tmp_path: Path,
    micro_reference: ModelReference,
) -> None:
    write_json(tmp_path / "champion.json", micro_reference.model_copy(update={"role": "champion", "absent": True}))
    result, manifest = ask(sample_section(), model=tmp_path / "champion.json")
    assert (manifest.absent, manifest.rows, manifest.kind) == (True, 0, "samples")
    assert not scripted_engine.opened
    assert result.counts == {"rows": 0}


def test_no_prompts(ask: Callable[..., Any], sample_section: Callable[..., SampleSection]) -> None:
    with pytest.raises(InputError, match="contains no prompts"):
        ask(sample_section(), rows=[])


@pytest.mark.parametrize("missing", ["model", "prompts"])
def test_missing_inputs(
    make_context: Callable[..., StageContext], sample_section: Callable[..., SampleSection], tmp_path: Path,
    base_file: Path, write_prompts: Callable[..., Path], prompts: list[Prompt], missing: str,
) -> None:
    files = {"model": base_file, "prompts": write_prompts(prompts)} | {missing: tmp_path / "missing"}
    with pytest.raises(InputError, match=r"Cannot read .*missing"):
        sample.run(
            make_context("sample"), sample_section(), files["model"], files["prompts"], samples_out=tmp_path / "o"
        )


def test_progress_counts_every_row_once(
    ask: Callable[..., Any], sample_section: Callable[..., SampleSection], scripted_engine: Any
) -> None:
    seen: list[Any] = []

    class Counting:
        def __init__(self, label: str, total: int) -> None:
            seen.append((label, total))

        def __enter__(self) -> Callable[..., None]:
            return lambda rows, reused=False: seen.append((rows, reused))

        def __exit__(self, *error: object) -> None:
            pass

    ask(sample_section(), track=Counting)
    ask(sample_section(), track=Counting)
    whole, sizes = ("sampling", 12), (4, 6, 2)
    assert seen == [whole, *((size, False) for size in sizes), whole, *((size, True) for size in sizes)]
