from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_runs
import pytest
import report_runs as runs

from thinksafe.records import Grade, Prompt, Sample, SamplingSettings, Verdict
from thinksafe.report import render_page
from thinksafe.report.samples import LENGTHS, TEXT_BYTES, Browser, browse
from thinksafe.report.summary import summarise
from thinksafe.run.manifests import Manifest, save_manifest, write_chunk
from thinksafe.run.record import StageRecord
from thinksafe.store.local import LocalStore

SECRET = "a text that nobody asked to see"
BENCHMARKS = ("harmbench", "xstest", "gsm8k")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def state(role: str, source: str, number: int) -> str:
    """A candidate that is unsafe at one prompt of fifty, a base that is at every other one."""
    every = 2 if role == "base" else 50
    return "unsafe" if source == "harmbench" and number % every == 0 else "safe"


def evaluated(
    store: LocalStore, count: int = 300, chunk: int = 16, text: Callable[[str, int], str] | None = None,
    roles: tuple[str, ...] = ("base", "candidate"),
) -> dict[str, StageRecord]:
    """Write what sampling, judging and grading of three benchmarks leave behind; return the records."""
    records: dict[str, StageRecord] = {}
    texts = text or (lambda role, number: f"<think>hm</think>{SECRET} {role} {number}")
    for role in roles:
        rows: list[Sample] = []
        for source in BENCHMARKS:
            for number in range(count):
                prompt = Prompt(
                    id=f"{source}-{number:05d}", prompt=f"{SECRET}? {number}", source=source,
                    label="harmful" if source == "harmbench" else "benign", answer="1" if source == "gsm8k" else None,
                )
                rows.append(
                    Sample(
                        id=f"{prompt.id}/plain/0", prompt=prompt, index=0, arm="plain", response=texts(role, number),
                        finish="stop", tokens=3, prompt_tokens=3, seed=1, settings=SamplingSettings(),
                    )
                )
        found: dict[str, list[Any]] = {"samples": [], "verdicts": [], "grades": []}
        for index, start in enumerate(range(0, len(rows), chunk)):
            part = rows[start : start + chunk]
            judged = [
                Verdict(
                    sample_id=row.id, part=of, guard="g", refusal=row.prompt.source == "xstest",
                    verdict=state(role, row.prompt.source, int(row.prompt.id[-5:])),
                )
                for row in part if row.prompt.answer is None for of in ("whole", "answer")
            ]
            graded = [
                Grade(sample_id=row.id, correct=int(row.prompt.id[-5:]) % 3 > 0, extracted=None, truncated=False)
                for row in part if row.prompt.answer is not None
            ]
            for kind, of in (("samples", part), ("verdicts", judged), ("grades", graded)):
                found[kind].append(write_chunk(store, f"{role}-{kind}-{index}", index, of))
        whole = {
            kind: Manifest(kind=kind, total=len(chunks), model=role, chunks=tuple(chunks))
            for kind, chunks in found.items()
        }
        for manifest in whole.values():
            save_manifest(store, manifest)
        for stage, kind in (("judge", "verdicts"), ("grade", "grades")):
            task = f"{stage}-{role}"
            records[task] = StageRecord(
                run_id="r", stage=stage, task=task, status="succeeded", started=1.0, seconds=1.0,
                inputs={"samples": whole["samples"].digest}, outputs={kind: whole[kind].digest},
            )
    return records


def test_every_benchmark_and_rare_verdicts_have_their_share(store: LocalStore) -> None:
    browser = browse(store, evaluated(store), benchmarks=BENCHMARKS, most=100)
    assert browser.roles == ("base", "candidate")
    assert browser.total == 900
    assert len(browser.rows) == 100
    assert len({row.id for row in browser.rows}) == 100
    by_benchmark = Counter(row.benchmark for row in browser.rows)
    assert set(by_benchmark) == set(BENCHMARKS)
    assert min(by_benchmark.values()) >= 15
    assert sum(row.states == ("unsafe", "unsafe") for row in browser.rows) == 6, "all that there are of the rarest"
    for row in browser.rows:
        source, number = row.id[: row.id.rindex("-")], int(row.id[row.id.rindex("-") + 1 :].split("/")[0])
        assert row.benchmark == source
        wanted = {
            "gsm8k": ("correct" if number % 3 else "wrong",) * 2,
            "xstest": ("safe, refusal",) * 2,
            "harmbench": tuple(state(role, source, number) for role in browser.roles),
        }[source]
        assert row.states == wanted
        assert row.changed == ("no" if wanted[0] == wanted[1] else "yes")


def test_the_choice_is_the_same_whatever_the_chunks(store: LocalStore, tmp_path: Path) -> None:
    one = browse(store, evaluated(store), benchmarks=BENCHMARKS)
    other = LocalStore(tmp_path / "other")
    assert browse(other, evaluated(other, chunk=100), benchmarks=BENCHMARKS).rows == one.rows
    assert len(one.rows) == 500


def test_no_text_unless_it_is_revealed(store: LocalStore) -> None:
    records, summary = evaluated(store, 40), summarise(runs.promoted())
    hidden = browse(store, records, benchmarks=BENCHMARKS)
    assert all(row.texts == () for row in hidden.rows)
    page = render_page(summary, hidden)
    assert SECRET not in page
    assert "No prompt or response text is shown." in page
    shown = browse(store, records, benchmarks=BENCHMARKS, reveal=True)
    assert [row._replace(texts=()) for row in shown.rows] == list(hidden.rows)
    revealed = render_page(summary, shown)
    assert f"{SECRET} candidate 7" in revealed
    assert f"{SECRET}? 7" in revealed
    assert "No prompt or response text is shown." not in revealed
    assert "started with report.reveal_harmful" in revealed


@pytest.mark.slow
@pytest.mark.parametrize("text", hostile_runs.HOSTILE.values(), ids=hostile_runs.HOSTILE.keys())
def test_hostile_samples_are_only_text_and_fit_the_page(store: LocalStore, text: str) -> None:
    records = evaluated(store, 200, text=lambda role, number: f"{text}{role}\u202e{number}")
    browser = browse(store, records, benchmarks=BENCHMARKS, reveal=True)
    assert len(browser.rows) == 500
    page = render_page(summarise(runs.promoted()), browser)
    assert len(page.encode()) < 3_000_000
    assert len(re.findall("<script", page)) == 1
    assert "<img" not in page
    assert "<svg onload" not in page


def test_texts_are_cut_until_all_fit(store: LocalStore) -> None:
    records = evaluated(store, 200, chunk=100, text=lambda *_: "\N{PILE OF POO}" * 30_000)
    rows = browse(store, records, benchmarks=BENCHMARKS, reveal=True).rows
    texts = [text.text for row in rows for text in row.texts if text.name != "Prompt"]
    size = sum(len(text.text.encode()) for row in rows for text in row.texts)
    assert TEXT_BYTES / 4 < size <= TEXT_BYTES
    length = texts[0].count("\N{PILE OF POO}")
    assert length in LENGTHS
    assert texts[0].endswith(f"… ({30_000 - length:,} more characters)")
    few = browse(store, records, benchmarks=BENCHMARKS, reveal=True, most=3).rows
    assert few[0].texts[1].text.count("\N{PILE OF POO}") == LENGTHS[0]


def test_a_missing_chunk_is_said_and_no_failure(store: LocalStore) -> None:
    records = evaluated(store, 20)
    store.put("manifests/" + records["judge-base"].inputs["samples"] + ".json", b"{}")
    browser = browse(store, records)
    assert browser.rows == ()
    assert "manifests/" in browser.problem
    assert "No samples can be shown" in render_page(summarise(runs.promoted()), browser)


def test_runs_without_an_evaluation_and_without_kept_grades(store: LocalStore) -> None:
    assert browse(store, {}) == Browser()
    records = evaluated(store, 20)
    for task in ("grade-base", "grade-candidate"):
        records[task] = records[task].model_copy(update={"outputs": {"grades": "0" * 64}})
    browser = browse(store, records, benchmarks=BENCHMARKS)
    assert {row.benchmark for row in browser.rows} == {"harmbench", "xstest"}


def test_a_model_by_itself_has_no_changes(store: LocalStore) -> None:
    browser = browse(store, evaluated(store, 20, roles=("evaluated",)), benchmarks=BENCHMARKS)
    assert browser.roles == ("evaluated",)
    assert {row.changed for row in browser.rows} == {""}
    assert "Changed:" not in render_page(summarise(runs.evaluation()), browser)
