"""What the pilot's numbers say about methods: distances, predicted samples, predicted hours, and the recommendation."""

from __future__ import annotations

from collections.abc import Callable

from thinksafe.deciding.recommendation import in_words
from thinksafe.estimating.measured import Speed
from thinksafe.estimating.work import drawn_by, retried, tokens_of
from thinksafe.methods.grpo import Grpo
from thinksafe.methods.rejection import Rejection
from thinksafe.methods.self_distillation import SelfDistillation
from thinksafe.methods.thinksafe import ThinkSafe
from thinksafe.records import Label
from thinksafe.report.evidence import Row, Table
from thinksafe.report.summary import RunSummary
from thinksafe.report.summary.model import Step
from thinksafe.report.tables import NONE, Cell, share, whole
from thinksafe.text import count, percent

EMPTY = Table((), (), ())
LABELS: tuple[Label, ...] = ("harmful", "benign")


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


def contexts(summary: RunSummary) -> Table:
    """Return the safety contexts that were searched, the best first, and what became of each."""
    of = summary.diagnosis
    if of is None:
        return EMPTY
    rows = [
        Row((each.name,), (
            share(each.flip_rate.value, each.flip_rate.interval), whole(each.flip_rate.n),
            share(each.refused.value, each.refused.interval), whole(each.refused.n),
            Cell(f"excluded: {each.excluded}" if each.excluded else "used" if each.name == of.context else "usable"),
        ))
        for each in of.contexts
    ]
    heads = ("Teacher flip rate", "Harmful prompts", "Benign prompts refused", "Benign prompts", "In training")
    return Table(("Context",), heads, tuple(rows))


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
    lengths = {"plain": of.tokens.get("plain", 0.0), "steered": of.tokens.get("steered", 0.0)}
    prompts: dict[Label, int] = {
        label: sum(each.rows for each in summary.prompt_sets if each.use == "training" and each.label == label)
        for label in LABELS
    }
    parts = drawn_by(ThinkSafe(), prompts)
    steered = tokens_of((part for part in parts if part.arm == "steered"), lengths)
    once = tokens_of(parts, lengths)
    most = retried(next((each for each in of.predictions if each.method == "retries"), None))
    epochs = summary.setting("training", "epochs", default=1)
    tokens: dict[str, tuple[float, float]] = {
        "thinksafe": (once, once),
        "retries": (once + (most[0] - 1) * steered, once + (most[1] - 1) * steered),
        "rejection": (tokens_of(drawn_by(Rejection(), prompts), lengths),) * 2,
        "self-distillation, on-policy-distillation": (
            tokens_of(drawn_by(SelfDistillation(), prompts, epochs), lengths),
        ) * 2,
        "grpo, an epoch": (tokens_of(drawn_by(Grpo(), prompts), lengths),) * 2,
    }
    speed = _speed(step)
    unit = "GPU-hours" if speed is not None and speed.gpus else "Hours of this machine"
    rows = []
    for method, (low, high) in tokens.items():
        hours = NONE if speed is None else _range(speed.hours(low), speed.hours(high), lambda value: f"{value:.2g}")
        rows.append(Row((method,), (_range(low, high, count), hours)))
    return Table(("Method",), ("Tokens to sample", unit), tuple(rows))


def _speed(step: Step | None) -> Speed | None:
    new = 0.0 if step is None else step.counts.get("tokens_new", 0)
    if step is None or not new or not step.seconds:
        return None
    return Speed.of(new, step.seconds, round(step.gpu_seconds / step.seconds))
