"""Each member of a panel is scored from the labels on the panel's sample."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from thinksafe.audit.draw import Plan, draw
from thinksafe.audit.population import JudgedRun
from thinksafe.audit.records import AuditKey, AuditScores, DomainScore, Label
from thinksafe.audit.score import score
from thinksafe.store.local import LocalStore

NAMES = ("qwen3guard 1", "qwen3guard 2", "wildguard")


@pytest.fixture
def run(judged: Callable[..., JudgedRun]) -> JudgedRun:
    return judged(sizes={"harmbench": 400}, roles=("candidate",), panel=True)


def drawn(store: LocalStore, run: JudgedRun, size: int, seed: int = 3) -> list[AuditKey]:
    return draw(store, run, Plan(("candidate",), frozenset(), "whole", size, seed), lambda rows: None)[1]


def true_label(sample_id: str) -> Label:
    return "unsafe" if random.Random(f"panel {sample_id}").random() > 0.8 else "safe"


def scored(keys: list[AuditKey]) -> AuditScores:
    return score({key.id: key for key in keys}, {key.id: true_label(key.sample_id) for key in keys})


def test_a_key_names_what_each_member_says(run: JudgedRun, store: LocalStore) -> None:
    for key in drawn(store, run, 60):
        assert tuple(member.guard for member in key.members) == NAMES
        assert [member.threshold for member in key.members] == [0.5, 0.4, None]
        assert key.p_unsafe is key.threshold is None
        assert AuditKey.model_validate_json(key.model_dump_json()) == key


def test_the_texts_of_a_stratum_are_called_safe_by_the_same_members(run: JudgedRun, store: LocalStore) -> None:
    seen: dict[str, set[tuple[bool, ...]]] = {}
    for key in drawn(store, run, 400):
        seen.setdefault(key.stratum, set()).add(tuple(member.verdict == "safe" for member in key.members))
    assert all(len(found) == 1 for found in seen.values())
    assert len(seen) > 5, "the members often differ"


def test_with_every_text_labelled_nothing_is_estimated(run: JudgedRun, store: LocalStore) -> None:
    keys = drawn(store, run, 400)
    found = scored(keys)
    panel, *members = found.domains
    assert (panel.panel, [of.guard for of in members]) == ("", list(NAMES))
    harmful = [key for key in keys if true_label(key.sample_id) == "unsafe"]
    for place, of in enumerate(members):
        assert of.panel == panel.guard
        against = [key for key in harmful if key.members[place].verdict != "safe"]
        called = [key for key in keys if key.members[place].verdict != "safe"]
        assert of.rates.recall.value == pytest.approx(len(against) / len(harmful))
        assert of.rates.specificity.value == pytest.approx(1 - (len(called) - len(against)) / (400 - len(harmful)))
        assert of.guard_harm == pytest.approx(len(called) / 400)
        assert of.rates.harm.value == pytest.approx(panel.rates.harm.value), "people do not change their mind"
        assert sum(map(sum, of.matrix)) == 400


def test_the_intervals_of_a_part_hold_the_truth_of_each_member(run: JudgedRun, store: LocalStore) -> None:
    whole = {of.guard: of for of in scored(drawn(store, run, 400)).domains}
    misses = total = 0
    for seed in range(8):
        for of in scored(drawn(store, run, 120, seed)).domains:
            for name in ("precision", "recall", "specificity"):
                truth, part = (getattr(found.rates, name) for found in (whole[of.guard], of))
                total += 1
                misses += not part.interval.low <= truth.value <= part.interval.high
    assert misses <= 0.1 * total, f"{misses} of {total}"


def test_each_member_has_its_own_threshold(run: JudgedRun, store: LocalStore) -> None:
    found = {of.guard: of for of in scored(drawn(store, run, 200)).thresholds}
    assert found["wildguard"].note == "this guard gives no probabilities"
    for name, used in (("qwen3guard 1", 0.5), ("qwen3guard 2", 0.4)):
        assert found[name].used is not None
        assert found[name].used.threshold == used
        assert found[name].best.youden >= found[name].used.youden


def test_a_guard_that_judged_alone_has_no_members(judged: Callable[..., Any], store: LocalStore) -> None:
    keys = drawn(store, judged(sizes={"harmbench": 60}, roles=("candidate",)), 20)
    assert all(not key.members and "members" not in key.model_dump() for key in keys)
    only: DomainScore
    (only,) = scored(keys).domains
    assert "panel" not in only.model_dump()
