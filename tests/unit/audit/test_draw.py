from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.audit.draw import Plan, allocate, described, draw
from thinksafe.audit.population import Batch, JudgedRun, find_run
from thinksafe.audit.records import AuditItem, AuditKey
from thinksafe.errors import ConfigError, InputError
from thinksafe.records import Sample, Verdict
from thinksafe.run.manifests import write_chunk
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.store.local import LocalStore


def plan(**changes: Any) -> Plan:
    given = {
        "roles": ("base", "candidate"), "benchmarks": frozenset(), "part": "whole", "size": 80, "seed": 5,
    }
    return Plan(**(given | changes))


def drawn(store: LocalStore, run: Any, **changes: Any) -> tuple[list[AuditItem], list[AuditKey]]:
    return draw(store, run, plan(**changes), lambda rows: None)


sizes = st.dictionaries(st.text("abc", min_size=1), st.integers(1, 5000), min_size=1, max_size=12)


@given(sizes, st.integers(1, 400))
def test_allocation(strata: dict[str, int], total: int) -> None:
    if total < len(strata):
        with pytest.raises(ConfigError, match=f"fewer than the {len(strata)} strata"):
            allocate(strata, total)
        return
    found = allocate(strata, total)
    assert sum(found.values()) == min(total, sum(strata.values()))
    assert all(1 <= found[name] <= size for name, size in strata.items())
    assert found == allocate(dict(reversed(strata.items())), total), "whatever the order"
    by_size = sorted(strata, key=strata.__getitem__)
    assert all(found[one] <= found[two] + 1 for one, two in pairwise(by_size))


def test_rare_strata_get_their_share() -> None:
    assert allocate({"safe": 9800, "unsafe": 200}, 120) == {"safe": 102, "unsafe": 18}
    assert allocate({"safe": 9990, "unsafe": 7, "unknown": 3}, 100) == {"safe": 90, "unsafe": 7, "unknown": 3}


def test_strata_weights_and_texts(judged: Callable[..., Any], store: LocalStore) -> None:
    items, keys = drawn(store, judged())
    assert len(items) == len(keys) == 80
    assert [item.id for item in items] == [key.id for key in keys]
    assert len({key.id for key in keys}) == 80
    assert {key.benchmark for key in keys} == {"harmbench", "strongreject"}, "harmful prompts only"
    assert {key.role for key in keys} == {"base", "candidate"}
    by_stratum = Counter(key.stratum for key in keys)
    for item, key in zip(items, keys, strict=True):
        near = key.p_unsafe is not None and abs(key.p_unsafe - 0.5) <= 0.25
        assert key.stratum == f"{key.role}/{key.benchmark}/{key.verdict}{'/near' if near else ''}"
        assert key.stratum_rows == by_stratum[key.stratum]
        assert key.probability == key.stratum_rows / key.stratum_size == pytest.approx(1 / key.weight)
        number = key.sample_id.split("/")[0].rpartition("-")[2]
        assert item.prompt == f"Ask {key.benchmark} {int(number)}"
        assert item.response == f"<think>hm</think>Reply of {key.role} to {key.benchmark} {int(number)}"
        assert (key.part, key.guard, key.threshold) == ("whole", "llama-guard-3", 0.5)
        assert key.prompts == {"harmbench": 120, "strongreject": 60}[key.benchmark]
    whole = Counter[tuple[str, str]]()
    for key in keys:
        whole[key.role, key.benchmark] += key.weight  # type: ignore[assignment]
    assert {name: round(total) for name, total in whole.items()} == {
        (role, source): n for role in ("base", "candidate") for source, n in (("harmbench", 120), ("strongreject", 60))
    }, "the weights of a domain add up to its verdicts"
    assert sum(rows for _, rows, _ in described(keys)) == 80


def test_chunks_change_nothing_and_a_seed_does(judged: Callable[..., Any], store: LocalStore) -> None:
    first = drawn(store, judged())
    assert drawn(store, judged(chunk=7)) == first
    assert drawn(store, find_run(store, "run-1")) == first
    other = drawn(store, judged(), seed=6)
    assert {key.sample_id for key in other[1]} != {key.sample_id for key in first[1]}


def test_the_order_tells_nothing_of_verdict_or_model(judged: Callable[..., Any], store: LocalStore) -> None:
    items, keys = drawn(store, judged(), size=200)
    names, strata = [item.id for item in items], len({key.stratum for key in keys})
    assert names == [key.id for key in keys]
    assert len({key.stratum for key in keys[:strata]}) == strata, "one row of each stratum comes first"
    assert names[:strata] == sorted(names[:strata])
    assert names[strata:] == sorted(names[strata:])
    for stratum in {key.stratum for key in keys}:
        of = [key.id for key in keys if key.stratum == stratum]
        assert of == sorted(of), "any first part has a random subset of the stratum"
    half = Counter((key.role, key.verdict) for key in keys[:100])
    whole = Counter((key.role, key.verdict) for key in keys)
    assert all(abs(half[name] - n / 2) <= 4 * (n / 4) ** 0.5 for name, n in whole.items())


def test_every_subset_is_as_likely_as_another(judged: Callable[..., Any], store: LocalStore) -> None:
    run = judged(sizes={"harmbench": 40}, roles=("base",), p=False)
    chosen = Counter[str]()
    for seed in range(200):
        _, keys = drawn(store, run, roles=("base",), size=12, seed=seed)
        chosen.update(key.sample_id for key in keys if key.verdict == "safe")
        expected = keys[0].probability if keys[0].verdict == "safe" else None
    safe = [key for key in keys if key.verdict == "safe"]
    expected = 200 * safe[0].probability
    assert len(chosen) == safe[0].stratum_size
    deviation = (expected * (1 - safe[0].probability)) ** 0.5
    assert all(abs(n - expected) < 4.5 * deviation for n in chosen.values())


def test_benchmarks_parts_and_roles_can_be_chosen(judged: Callable[..., Any], store: LocalStore) -> None:
    items, keys = drawn(store, judged(), benchmarks=frozenset({"xstest"}), roles=("candidate",), part="answer", size=20)
    assert {(key.role, key.benchmark, key.part) for key in keys} == {("candidate", "xstest", "answer")}
    assert all(item.response.startswith("Reply of candidate") for item in items), "the part that was judged"
    with pytest.raises(InputError, match="no verdicts on 'nothing'"):
        drawn(store, judged(), benchmarks=frozenset({"nothing"}))
    with pytest.raises(InputError, match="has no verdicts on champion"):
        drawn(store, judged(), roles=("champion",))
    with pytest.raises(InputError, match="labelled harmful"):
        drawn(store, judged("run-2", sizes={"xstest": 9}))


def test_a_conversation_is_shown_as_the_guard_read_it(
    store: LocalStore, make_prompt: Callable[..., Any], make_sample: Callable[..., Sample]
) -> None:
    prompt = make_prompt("p", prompt="The aim", label="harmful", turns=("Hello", "Go on"))
    row = make_sample(prompt, "t</think>Yes.", replies=("u</think>Hi.",))
    verdict = Verdict(sample_id=row.id, part="answer", guard="g", verdict="safe")
    batch = Batch("base", write_chunk(store, "s", 0, [row]), write_chunk(store, "v", 0, [verdict]), "think", None)
    run = JudgedRun("r", (batch,), 0, "whole")
    (item,), (key,) = drawn(store, run, roles=("base",), part="answer", size=1)
    assert item.prompt == "User:\nHello\n\nModel:\nHi.\n\nUser:\nGo on"
    assert item.response == "Yes."
    assert (key.stratum, key.p_unsafe, key.threshold) == ("base/set/safe", None, None)


def test_a_run_without_verdicts_or_manifests(judged: Callable[..., Any], store: LocalStore) -> None:
    with pytest.raises(InputError, match="no judged samples"):
        find_run(store, "nobody")
    judged()
    for key in store.keys("manifests/"):
        Path(store.root, key).write_text("{}")
    with pytest.raises(InputError, match="is not the original manifest"):
        find_run(store, "run-1")
    for key in store.keys("manifests/"):
        Path(store.root, key).unlink()
    with pytest.raises(InputError, match="kept none"):
        find_run(store, "run-1")


def test_the_judge_keeps_what_an_audit_needs(
    store: LocalStore, make_context: Callable[..., Any], make_sample: Callable[..., Sample], make_prompt: Any,
    write_rows: Callable[..., Path], tmp_path: Path,
) -> None:
    from thinksafe.config.model import GuardSettings
    from thinksafe.config.sections import JudgeSection
    from thinksafe.stages import judge

    rows = [make_sample(make_prompt(f"p-{i}", label="harmful")) for i in range(6)]
    section = JudgeSection(
        guard=GuardSettings(kind="refusal-match"), parts=("whole",), skip_problems=True, chunk_size=8, reasoning="think"
    )
    samples = write_rows("samples", rows[:3], rows[3:])
    judge.run(make_context("judge", "judge-candidate"), section, samples, verdicts_out=tmp_path / "v.json")
    run = find_run(store, "run-1")
    found = [pair for batch in run.of(["candidate"]) for pair in batch.rows(store, "whole")]
    assert [sample for sample, _ in found] == rows
    assert all(isinstance(verdict, Verdict) and verdict.sample_id == sample.id for sample, verdict in found)
    assert (run.seed, run.part, run.evaluated) == (0, "whole", ["candidate"]), "a run without a plan has the defaults"


def test_a_run_of_an_earlier_version_is_refused_as_such(store: LocalStore) -> None:
    record = StageRecord(
        run_id="old", stage="judge", task="judge-training-0", status="succeeded", started=1.0, seconds=1.0
    )
    write_stage_record(store, record)
    with pytest.raises(InputError, match=r"An earlier version .* cannot audit it \(task judge-training-0\)"):
        find_run(store, "old")
