from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinksafe.audit.draw import Plan, draw
from thinksafe.audit.records import AuditKey, AuditScores, DomainScore, Label
from thinksafe.audit.score import score
from thinksafe.errors import InputError
from thinksafe.store.local import LocalStore


def keys_of(*strata: tuple[str, str, str, int, int], p: bool = True) -> dict[str, AuditKey]:
    """Keys of strata: role, benchmark, verdict, size, rows."""
    found = {}
    for role, benchmark, verdict, size, rows in strata:
        for _ in range(rows):
            name = f"a-{len(found):04d}"
            chance = {"safe": 0.1, "unsafe": 0.9, "unknown": None}[verdict] if p else None
            found[name] = AuditKey.model_validate(
                {
                    "id": name, "run_id": "r", "role": role, "benchmark": benchmark, "sample_id": name, "part": "whole",
                    "guard": "g", "verdict": verdict, "p_unsafe": chance, "threshold": 0.5 if p else None,
                    "stratum": f"{role}/{benchmark}/{verdict}", "stratum_size": size, "stratum_rows": rows,
                    "probability": rows / size, "weight": size / rows, "prompts": 500,
                }
            )
    return found


def labelled(keys: dict[str, AuditKey], **words: list[Label]) -> dict[str, Label]:
    """Labels in the order of the keys: those of a verdict's rows, by verdict."""
    queues = {verdict: list(of) for verdict, of in words.items()}
    return {name: queues[key.verdict].pop(0) for name, key in keys.items()}


def only(scores: AuditScores) -> DomainScore:
    (domain,) = scores.domains
    return domain


KEYS = keys_of(("base", "b", "safe", 900, 60), ("base", "b", "unsafe", 95, 30), ("base", "b", "unknown", 5, 5))


def test_the_numbers_by_hand() -> None:
    labels = labelled(
        KEYS, safe=["unsafe"] * 3 + ["safe"] * 57, unsafe=["unsafe"] * 24 + ["safe"] * 6,
        unknown=["unsafe"] * 2 + ["safe"] * 3,
    )
    of = only(score(KEYS, labels))
    missed, caught = 900 * 3 / 60, 95 * 24 / 30 + 2
    assert of.rates.harm.value == pytest.approx((missed + caught) / 1000)
    assert of.rates.recall.value == pytest.approx(caught / (caught + missed))
    assert of.rates.precision.value == pytest.approx(caught / 100)
    assert of.rates.specificity.value == pytest.approx((900 - missed) / (1000 - caught - missed))
    assert of.guard_harm == pytest.approx(0.1)
    assert of.matrix == ((57, 3, 0), (6, 24, 0), (3, 2, 0))
    assert of.shares[0][:2] == pytest.approx((0.855, 0.045))
    assert (of.n, of.unsure, of.rates_if_unsure_is_safe) == (95, 0, None)
    assert of.rates.precision.n == 35
    harm = of.rates.harm.interval
    assert harm is not None
    assert harm.low < of.rates.harm.value < harm.high
    assert (harm.confidence, "Rogan-Gladen" in harm.method) == (0.9, True)


def test_unsure_labels_are_counted_and_both_readings_are_shown() -> None:
    labels = labelled(
        KEYS, safe=["unsure"] * 3 + ["safe"] * 57, unsafe=["unsafe"] * 24 + ["unsure"] * 6, unknown=["unsure"] * 5
    )
    of = only(score(KEYS, labels))
    assert of.unsure == 14
    assert of.matrix == ((57, 0, 3), (0, 24, 6), (0, 0, 5))
    assert of.rates.harm.value == pytest.approx((45 + 95 + 5) / 1000)
    assert of.rates_if_unsure_is_safe is not None
    assert of.rates_if_unsure_is_safe.harm.value == pytest.approx(76 / 1000)


@pytest.mark.parametrize(
    ("safe", "other", "missing"),
    [
        ("safe", "safe", {"recall", "kappa"}), ("unsafe", "unsafe", {"specificity", "kappa"}),
        ("safe", "unsafe", set()), ("unsafe", "safe", set()),
    ],
)
def test_degenerate_labels(safe: Label, other: Label, missing: set[str]) -> None:
    of = only(score(KEYS, labelled(KEYS, safe=[safe] * 60, unsafe=[other] * 30, unknown=[other] * 5)))
    for name in ("precision", "recall", "specificity", "kappa", "harm"):
        measure = getattr(of.rates, name)
        if name in missing and name != "kappa":
            assert measure.value is None
            assert measure.note
            assert measure.interval is None
        elif measure.value is not None:
            assert measure.interval is not None
            assert measure.interval.high > measure.interval.low
    assert of.rates.harm.value is not None


def test_a_guard_that_says_one_thing_only() -> None:
    keys = keys_of(("base", "b", "safe", 300, 60))
    of = only(score(keys, labelled(keys, safe=["unsafe"] * 6 + ["safe"] * 54)))
    assert of.rates.precision.value is None
    assert of.rates.recall.value == 0
    assert of.rates.harm.value == pytest.approx(0.1)


def test_models_and_benchmarks_by_themselves_and_small_ones_named() -> None:
    keys = keys_of(
        ("base", "big", "safe", 100, 40), ("base", "small", "safe", 50, 10), ("candidate", "big", "unsafe", 30, 30)
    )
    found = score(keys, labelled(keys, safe=["safe"] * 50, unsafe=["unsafe"] * 30))
    assert [(of.role, of.benchmark) for of in found.domains] == [
        ("", ""), ("base", ""), ("base", "big"), ("candidate", "big"),
    ]
    assert found.too_few == ("base/small (10)",)
    assert found.domains[0].rates.harm.value is None
    assert "several models" in found.domains[0].rates.harm.note


def test_rows_without_a_label_are_stood_for_and_bare_strata_refused() -> None:
    labels = labelled(KEYS, safe=["unsafe"] * 3 + ["safe"] * 57, unsafe=["unsafe"] * 30, unknown=["unsafe"] * 5)
    some = {name: label for name, label in labels.items() if KEYS[name].verdict != "safe" or name < "a-0030"}
    found = score(KEYS, some)
    assert (found.labels, found.unlabelled) == (65, 30)
    assert only(found).rates.harm.value == pytest.approx((900 * 3 / 30 + 100) / 1000)
    with pytest.raises(InputError, match="'base/b/unknown' has a label"):
        score(KEYS, {name: label for name, label in labels.items() if KEYS[name].verdict != "unknown"})
    with pytest.raises(InputError, match="no labels"):
        score(KEYS, {})


def test_the_same_labels_give_the_same_bytes_and_a_seed_changes_kappa_only() -> None:
    labels = labelled(KEYS, safe=["safe"] * 60, unsafe=["unsafe"] * 20 + ["safe"] * 10, unknown=["unsafe"] * 5)
    first, again, other = score(KEYS, labels), score(dict(reversed(KEYS.items())), labels), score(KEYS, labels, seed=1)
    assert first.model_dump_json() == again.model_dump_json()
    assert only(first).rates.kappa.interval != only(other).rates.kappa.interval
    assert only(first).rates.harm == only(other).rates.harm


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_labels_give_whole_scores(data: st.DataObject) -> None:
    strata = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(("base", "candidate")), st.sampled_from("xy"),
                st.sampled_from(("safe", "unsafe", "unknown")), st.integers(1, 60), st.integers(1, 8),
            ),
            min_size=1, max_size=6, unique_by=lambda of: of[:3],
        )
    )
    keys = keys_of(*((role, bench, verdict, max(size, rows), rows) for role, bench, verdict, size, rows in strata))
    labels = {name: data.draw(st.sampled_from(("safe", "unsafe", "unsure"))) for name in keys}
    found = score(keys, labels, fewest=3)
    assert AuditScores.model_validate_json(found.model_dump_json()) == found
    for of in found.domains:
        assert sum(map(sum, of.matrix)) == of.n
        assert sum(map(sum, of.shares)) == pytest.approx(1)


def test_a_drawn_sample_with_true_labels_finds_the_truth(judged: Callable[..., Any], store: LocalStore) -> None:
    """People disagree with the guard at known rates; the corrected ratio must find what they would say of all."""
    run = judged(sizes={"harmbench": 600}, roles=("candidate",))
    truth: dict[str, Label] = {}
    for batch in run.of(["candidate"]):
        for sample, verdict in batch.rows(store, "whole"):
            wrong = random.Random(sample.id).random() < (0.25 if verdict.verdict == "safe" else 0.3)
            truth[sample.id] = "unsafe" if (verdict.verdict != "safe") != wrong else "safe"
    plan = Plan(("candidate",), frozenset(), "whole", 300, 3)
    _, keys = draw(store, run, plan, lambda rows: None)
    of = only(score({key.id: key for key in keys}, {key.id: truth[key.sample_id] for key in keys}))
    share = sum(label == "unsafe" for label in truth.values()) / len(truth)
    assert of.rates.harm.interval is not None
    assert of.rates.harm.interval.low <= share <= of.rates.harm.interval.high
    assert abs(of.guard_harm - share) > 0.01, "there was something to correct"
    _, keys = draw(store, run, Plan(("candidate",), frozenset(), "whole", 600, 3), lambda rows: None)
    of = only(score({key.id: key for key in keys}, {key.id: truth[key.sample_id] for key in keys}))
    assert of.rates.harm.value == pytest.approx(share), "with every text labelled, nothing is estimated"
