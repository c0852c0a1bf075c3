"""How far training moved the student, measured after it.

It is read on training rows or, where training samples the responses itself, on responses of the student as it was
(:mod:`thinksafe.training.replies`).

Three numbers for each label, in nats per response token: the negative log-likelihood of the responses under the
original student (how typical the data are of it) and under the candidate (how well they were learnt), and KL(student ||
candidate) of the next-token distributions at the same tokens (what changed, even where it should not have).
The rows are a seeded choice, each read whole, the vocabulary's logits a chunk of tokens at a time. The original student
is the candidate with its adapter switched off. Where all weights are trained, there is nothing to switch off: what the
student makes of the rows is then noted before training (:func:`note_student`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from thinksafe.digests import derived_seed
from thinksafe.errors import ConfigError
from thinksafe.records import Interval, Label, Record
from thinksafe.training.data import IGNORED, Row
from thinksafe.training.logits import (
    Compute,
    Project,
    as_reference,
    at_projection,
    check_projection,
    cross_entropy,
    forward_kl,
    kept_projection,
    states_only,
    student_of,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ROWS = 100
"""Maximum number of rows to read per label."""
CONFIDENCE = 0.9

Measure = Literal["nll_student", "nll_candidate", "kl"]
MEASURES: tuple[Measure, ...] = ("nll_student", "nll_candidate", "kl")


class Drift(Record):
    """One of the numbers, over the response tokens of the rows of one label."""

    measure: Measure
    label: Label
    value: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    """Nats a response token."""
    n: Annotated[int, Field(gt=0)]
    """Rows."""
    tokens: Annotated[int, Field(gt=0)]
    """Response tokens of the rows, the end of the turn included."""
    interval: Interval | None
    """Covers the choice of rows, which count as independent; None for a single row."""


def chosen_rows(rows: Sequence[Row], seed: int, most: int = ROWS) -> list[Row]:
    """Return a seeded choice of at most ``most`` rows with loss of each label, in the order of their ids."""
    return chosen([row for row in rows if any(token != IGNORED for token in row.labels)], seed, most)


def chosen(rows: Sequence[Row], seed: int, most: int) -> list[Row]:
    """Return a seeded choice of at most ``most`` rows of each label, in the order of their ids."""
    found: list[Row] = []
    for label in ("harmful", "benign"):
        of = sorted((row for row in rows if row.label == label), key=lambda row: row.id)
        found += random.Random(derived_seed(seed, "drift", label)).sample(of, min(most, len(of)))
    return sorted(found, key=lambda row: row.id)


@dataclass(frozen=True)
class Noted:
    """What the student made of the rows before all its weights were trained."""

    states: list[Tensor]
    """Hidden states at the response tokens of each row, [tokens, hidden size], in the CPU's memory."""
    project: Project
    """The vocabulary projection as it was."""


Reader = Callable[["Tensor", Compute], Any]
"""Token ids [1, tokens] to what a computation makes of the projection and the hidden states [1, tokens - 1, size]."""


def _reader(model: Any) -> Reader | None:
    """Return how to read rows with a model; None if its logits cannot be computed in chunks."""
    inner = student_of(model)
    prepared = getattr(inner, "has_losses", False)
    if not prepared:
        try:
            check_projection(inner)
        except ConfigError:
            return None

    def at_states(ids: Tensor, compute: Compute) -> Any:
        if prepared:  # through the outermost model, which gathers weights that are sharded
            return model(input_ids=ids, compute=compute)
        states = inner.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        return at_projection(inner, states, compute)

    return at_states


def note_student(model: Any, rows: Sequence[Row], dtype: torch.dtype, advance: Callable[[int], None]) -> Noted | None:
    """Return what a student makes of the rows; None if that cannot be told.

    It is called before all weights are trained, by all processes that share them.

    Args:
        model: Causal language model.
        rows: Rows to read (:func:`chosen_rows`).
        dtype: Number format of the hidden states that are kept.
        advance: Called with the number of finished rows.
    """
    import torch

    if (read := _reader(model)) is None:
        return None
    found: list[Project] = []

    def states_noted(_: Project, hidden: Tensor) -> Tensor:
        if not found:
            found.append(kept_projection(model))
        return hidden

    states, device = [], next(model.parameters()).device
    with as_reference(model):
        for row in rows:
            response = torch.tensor(row.labels[1:], device=device) != IGNORED
            try:
                hidden = read(torch.tensor([row.input_ids], device=device), states_noted)[0][response]
            except TypeError:  # the same in all processes
                return None
            states.append(hidden.to(dtype).cpu())
            advance(1)
    return Noted(states, found[0]) if found else None


def measure_drift(
    model: Any, rows: Sequence[Row], chunk: int, advance: Callable[[int], None], noted: Noted | None = None
) -> list[Drift]:
    """Return the numbers of a trained student, harmful rows first. All processes that share weights must call it.

    Args:
        model: PEFT model around a causal language model or, with ``noted``, the model itself.
        rows: Rows to read (:func:`chosen_rows`).
        chunk: Tokens whose logits exist at once.
        advance: Called with the number of finished rows.
        noted: What the original student made of the rows, unless an adapter can be switched off.

    Returns:
        Nothing if the model's logits cannot be computed in chunks (:func:`thinksafe.training.logits.check_projection`),
        and no number that is not finite: drift must not fail a successful training.
    """
    import torch

    model.eval()
    at_states = _reader(model)
    if at_states is None or (noted is None and student_of(model) is model):
        return []
    original = noted.project if noted is not None else None
    sums = dict[tuple[Label, Measure], list[float]]()
    sizes: dict[Label, list[int]] = {}
    device = next(model.parameters()).device
    for place, row in enumerate(rows):
        ids = torch.tensor([row.input_ids], device=device)
        targets = torch.tensor(row.labels[1:], device=device)
        response = targets != IGNORED

        wanted = targets[response]
        if noted is not None:
            before = noted.states[place].to(device)
        else:
            with as_reference(model):
                before = at_states(ids, states_only)[0][response]

        def numbers(
            project: Project, states: Tensor, before: Tensor = before, response: Tensor = response,
            wanted: Tensor = wanted,
        ) -> dict[Measure, Tensor]:
            after = states[0][response]
            return {
                "nll_student": cross_entropy(original or project, before, wanted, chunk),
                "nll_candidate": cross_entropy(project, after, wanted, chunk),
                "kl": forward_kl(project, after, before, chunk, original),
            }

        with torch.no_grad():
            values: dict[Measure, Tensor] = at_states(ids, numbers)
        for measure, tokens in values.items():
            sums.setdefault((row.label, measure), []).append(float(tokens.double().sum()))
        sizes.setdefault(row.label, []).append(len(wanted))
        advance(1)
    order: tuple[Label, ...] = ("harmful", "benign")
    return [
        estimate(measure, label, sums[label, measure], sizes[label])
        for label in order if label in sizes for measure in MEASURES
        if all(map(math.isfinite, sums[label, measure]))
    ]


def estimate(measure: Measure, label: Label, sums: Sequence[float], sizes: Sequence[int]) -> Drift:
    """Return the mean over tokens with an interval that treats a row's tokens as one draw.

    The ratio of two sums is a weighted mean of the rows' means; its variance is the sandwich estimate with the small
    sample correction (HC1), its quantile Student's.

    Args:
        measure: What was measured.
        label: Of the rows.
        sums: Sum over the tokens of each row, in nats.
        sizes: Response tokens of each row.
    """
    import numpy as np

    weights, interval = np.array(sizes, dtype=float), None
    # rounding may make the KL of equal distributions slightly negative
    value = max(math.fsum(sums) / float(weights.sum()), 0.0)
    if len(sizes) > 1:
        from statsmodels.api import WLS

        means = np.array(sums) / weights
        fit = WLS(means, np.ones(len(sizes)), weights=weights).fit(cov_type="HC1", use_t=True)
        low, high = (max(float(limit), 0.0) for limit in fit.conf_int(alpha=1 - CONFIDENCE)[0])
        interval = Interval(
            low=min(low, value), high=max(high, value), confidence=CONFIDENCE, method="t, by row (HC1)"
        )
    return Drift(
        measure=measure, label=label, value=value, n=len(sizes), tokens=int(weights.sum()), interval=interval
    )
