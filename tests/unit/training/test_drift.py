from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_runs import rows

from thinksafe.training.data import IGNORED, Row
from thinksafe.training.drift import MEASURES, chosen_rows, estimate, measure_drift


@pytest.fixture(scope="module")
def adapted(student_folder: Callable[[str], Path]) -> Any:
    """A tiny student with an adapter that does something, and dropout in front of it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(student_folder("qwen"), dtype=torch.float64)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_dropout=0.2, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(plain, lora, autocast_adapter_dtype=False).train()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
    return model


def naive(model: Any, row: Row) -> dict[str, list[float]]:
    """Return the numbers of each response token from the full logits."""
    import torch

    ids, places = torch.tensor([row.input_ids]), [i for i, label in enumerate(row.labels) if label != IGNORED]
    model.eval()
    with torch.no_grad():
        after = model(input_ids=ids).logits[0].log_softmax(-1)
        with model.disable_adapter():
            before = model(input_ids=ids).logits[0].log_softmax(-1)
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for place in places:
        old, new, token = before[place - 1], after[place - 1], row.input_ids[place]
        found["nll_student"].append(-float(old[token]))
        found["nll_candidate"].append(-float(new[token]))
        found["kl"].append(float((old.exp() * (old - new)).sum()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_numbers_are_those_of_the_full_logits(adapted: Any, chunk: int) -> None:
    data, heard = rows(6), []
    adapted.train()
    found = measure_drift(adapted, data, chunk, heard.append)
    assert [(drift.label, drift.measure) for drift in found] == [
        (label, measure) for label in ("harmful", "benign") for measure in MEASURES
    ]
    assert sum(heard) == len(data)
    for drift in found:
        of = [naive(adapted, row)[drift.measure] for row in data if row.label == drift.label]
        tokens = [value for row in of for value in row]
        assert drift.value == pytest.approx(sum(tokens) / len(tokens), rel=1e-5)
        assert (drift.n, drift.tokens) == (len(of), len(tokens))
        assert drift.interval is not None
        assert drift.interval.low <= drift.value <= drift.interval.high
    assert all(drift.value > 0.001 for drift in found if drift.measure == "kl")


@pytest.mark.slow
def test_an_adapter_that_does_nothing_has_not_drifted(adapted: Any) -> None:
    import torch

    model = copy.deepcopy(adapted)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(weight)
    by = {(drift.label, drift.measure): drift.value for drift in measure_drift(model, rows(4), 8, lambda _: None)}
    for label in ("harmful", "benign"):
        assert by[label, "kl"] == 0
        assert by[label, "nll_student"] == by[label, "nll_candidate"]


@pytest.mark.slow
def test_a_model_whose_logits_are_made_otherwise_is_left_out(adapted: Any) -> None:
    model = copy.deepcopy(adapted)
    inner = model.get_base_model()
    head = inner.get_output_embeddings()
    inner.get_output_embeddings = lambda: lambda hidden: 2 * head(hidden)
    assert measure_drift(model, rows(4), 8, lambda _: None) == []


def test_the_choice_is_seeded_and_by_label() -> None:
    data = [Row(f"r{i:03d}", [1, 2], [IGNORED, 2], "benign" if i % 3 else "harmful") for i in range(90)]
    found = chosen_rows(data, 1, 20)
    assert found == chosen_rows(list(reversed(data)), 1, 20)
    assert found != chosen_rows(data, 2, 20)
    assert [sum(row.label == label for row in found) for label in ("harmful", "benign")] == [20, 20]
    assert len(chosen_rows(data, 1, 1000)) == 90
    assert [row.id for row in found] == sorted(row.id for row in found)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(1, 40)), min_size=2, max_size=30)
)
def test_the_interval_is_that_of_a_ratio_of_sums(rows: list[tuple[float, int]]) -> None:
    from scipy.stats import t

    sums, sizes = [value for value, _ in rows], [size for _, size in rows]
    n, total = len(rows), sum(sizes)
    value = sum(sums) / total
    variance = n / (n - 1) * sum((s - value * size) ** 2 for s, size in rows) / total**2
    half = float(t.ppf(0.95, n - 1)) * math.sqrt(variance)
    found = estimate("kl", "benign", sums, sizes)
    assert found.value == pytest.approx(value)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(max(value - half, 0), abs=1e-9)
    assert found.interval.high == pytest.approx(value + half, abs=1e-9)


def test_one_row_has_no_interval_and_a_rounding_is_nothing() -> None:
    found = estimate("kl", "harmful", [-1e-12], [3])
    assert (found.value, found.interval, found.tokens) == (0.0, None, 3)


def test_rows_without_loss_are_not_read() -> None:
    empty = Row("empty", [3, 4, 5], [IGNORED] * 3, "benign")
    assert chosen_rows([*rows(4), empty], seed=1) == chosen_rows(rows(4), seed=1)
    assert chosen_rows([empty], seed=1) == []


def test_a_number_that_is_not_finite_is_left_out(adapted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from thinksafe.training import drift

    monkeypatch.setattr(drift, "forward_kl", lambda project, after, *_: torch.full((len(after),), math.nan))
    measured = {found.measure for found in measure_drift(adapted, chosen_rows(rows(4), seed=1), 8, lambda _: None)}
    assert measured == {"nll_student", "nll_candidate"}
