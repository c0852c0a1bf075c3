"""What the pilot's numbers say about methods: distances, predicted samples, predicted hours, and the recommendation."""

from __future__ import annotations

from collections.abc import Callable

from thinksafe.deciding.recommendation import in_words
from thinksafe.methods.grpo import ROLLOUTS
from thinksafe.methods.rejection import Rejection
from thinksafe.report.evidence import Row, Table
from thinksafe.report.summary import RunSummary
from thinksafe.report.tables import NONE, Cell, whole
from thinksafe.run.details import Prediction
from thinksafe.text import count, percent

EMPTY = Table((), (), ())


def numbers(summary: RunSummary) -> Table:
    """Return the pilot's numbers that are no shares."""
    of = summary.diagnosis
    if of is None:
        return EMPTY
    found = {
        "Odds ratio of acceptance, steered to plain": of.odds_ratio,
        **{f"Cross-entropy of accepted {arm} traces, nats a token": each for arm, each in of.cross_entropy.items()},
        "Excess of the steered ones, nats a token": of.excess,
    }
    rows = [
        Row((name,), (Cell(in_words(each), repr(each.value), each.method), whole(each.n)))
        for name, each in found.items() if each is not None
    ]
    return Table(("Number",), ("Value", "n"), tuple(rows))


def predicted(summary: RunSummary) -> Table:
    """Return what each way of sampling harmful prompts would keep."""
    of = summary.diagnosis
    rows = [
        Row((each.method,), (
            _range(each.kept_low, each.kept_high, lambda value: percent(value, 0)),
            _range(each.drawn_low, each.drawn_high, lambda value: f"{value:.2f}"),
            NONE if each.samples_low is None else _range(
                each.samples_low, each.samples_high, lambda value: f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
            ),
        ))
        for each in (of.predictions if of is not None else ())
    ]
    return Table(("Sampling",), ("Prompts kept", "Samples a prompt", "Samples a kept example"), tuple(rows))


def _range(low: float, high: float | None, words: Callable[[float], str]) -> Cell:
    first = words(low)
    if high is None:
        return Cell(f"{first} or more", repr(low))
    last = words(high)
    return Cell(first if first == last else f"{first} to {last}", repr(low))


def costs(summary: RunSummary) -> Table:
    """Return the tokens that each method would sample for the training prompts, and the hours at the pilot's rate.

    Benign responses count as long as plain ones of the pilot. A pilot whose samples were reused has no rate.
    """
    of, step = summary.diagnosis, summary.step("sample-pilot")
    if of is None or not of.tokens or not of.predictions:
        return EMPTY
    plain, steered = of.tokens.get("plain", 0.0), of.tokens.get("steered", 0.0)
    prompts = {
        label: sum(each.rows for each in summary.prompt_sets if each.use == "training" and each.label == label)
        for label in ("harmful", "benign")
    }
    harmful, benign = prompts["harmful"], prompts["benign"] * plain
    whole_set = harmful * plain + benign
    retries = next((each for each in of.predictions if each.method == "retries"), None)
    epochs = summary.setting("training", "epochs", default=1)
    tokens: dict[str, tuple[float, float]] = {
        "thinksafe": (harmful * steered + benign,) * 2,
        "retries": _retried(retries, harmful * steered, benign),
        "rejection": (Rejection.samples * whole_set,) * 2,
        "self-distillation, on-policy-distillation": (epochs * whole_set,) * 2,
        "grpo, an epoch": (ROLLOUTS * whole_set,) * 2,
    }
    new = 0.0 if step is None else step.counts.get("tokens_new", 0)
    gpus = 0.0 if step is None or not step.seconds else step.gpu_seconds / step.seconds
    rate = new / step.seconds if step is not None and step.seconds else 0.0
    unit = "GPU-hours" if gpus else "Hours of this machine"
    rows = []
    for method, (low, high) in tokens.items():
        hours = [each / rate / 3600 * (gpus or 1) if rate else None for each in (low, high)]
        rows.append(Row((method,), (
            _range(low, high, count),
            NONE if hours[0] is None else _range(hours[0], hours[1], lambda value: f"{value:.2g}"),
        )))
    return Table(("Method",), ("Tokens to sample", unit), tuple(rows))


def _retried(found: Prediction | None, harmful: float, benign: float) -> tuple[float, float]:
    low, high = (1.0, 1.0) if found is None else (found.drawn_low, found.drawn_high)
    return low * harmful + benign, high * harmful + benign
