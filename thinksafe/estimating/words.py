"""The estimate in words, and the refusal of one that is above the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from thinksafe.errors import ConfigError
from thinksafe.estimating.model import Estimate, MemoryEstimate, TaskEstimate
from thinksafe.estimating.ranges import Range
from thinksafe.text import DASH, count, plural

GIB = 2**30
LESS = {
    "sample": "fewer prompts (prompts.count) or samples (sampling.n, evaluation.n_reasoning), or a smaller max_tokens",
    "judge": "fewer prompts (prompts.count) or samples (sampling.n, evaluation.n), or a smaller guard",
    "grade": "fewer problems (prompts.count) or samples (evaluation.n_reasoning)",
    "train": "fewer epochs (training.epochs) or training prompts (prompts.count)",
}
"""What makes the tasks of a stage cheaper."""


def lines(of: Estimate) -> Iterator[str]:
    """Yield the lines of the whole estimate for a terminal."""
    yield f"{of.name} ({of.pipeline}), if it runs to its end and finds nothing done in the store:"
    heads = ("task", "prompts", "samples", "tokens", of.unit, "from")
    rows = [_row(task, of) for task in of.tasks]
    if of.others is not None:
        rows.append(("other stages", "", "", "", _range(of.others, _hours), "the last run"))
    hours = _range(of.hours, _hours) if of.known else f"at least {_range(of.hours, _hours)}"
    if not of.known and not of.hours.point:
        hours = "unknown"
    rows.append(("total", count(of.prompts), _range(of.samples, count), _range(of.tokens, count), hours, ""))
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    for row in (heads, *rows):
        first, *middle, last = (
            cell.ljust(width) if place in (0, 5) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {first}  {'  '.join(middle)}  {last}".rstrip()
    if of.money is not None:
        yield f"money    {'' if of.known else 'at least '}{_money(of)}"
    yield f"storage  {_range(of.storage, _bytes)}"
    for each in of.memory:
        yield f"memory   {_memory(each)}"
    yield from (*of.notes, *of.unknown)
    if of.limit is not None:
        yield f"limit    {of.limit:g} GPU-hours (cost.limit_gpu_hours)"


def told(of: Estimate) -> str:
    """Return the total in one line, with what it rests on."""
    rests = f"by run {of.runs[0]}" if of.runs else "no run of this student was measured"
    if not of.known and not of.hours.point:
        return f"estimate: hours unknown ({rests}; {plural(len(of.unknown), 'gap')}, `thinksafe estimate` lists them)"
    least = "" if of.known else "at least "
    money = f", {_money(of)}" if of.money is not None else ""
    gaps = "" if of.known else f"; {plural(len(of.unknown), 'gap')}, `thinksafe estimate` lists them"
    return f"estimate: {least}{_range(of.hours, _hours)} {of.unit}{money} ({rests}{gaps})"


def require_within_limit(of: Estimate) -> None:
    """Refuse an estimate above ``cost.limit_gpu_hours``, or one whose GPU-hours are not all known.

    Raises:
        ConfigError: it is above the limit; names the total, the limit, and the largest task.
    """
    if of.limit is None or of.unit != "GPU-hours":
        return
    if of.hours.point > of.limit:
        largest = of.largest
        assert largest is not None, "the hours are the sum of the tasks"
        assert largest.hours is not None, "the largest has some"
        limited = [task for task in of.tasks if task.hours is not None and "limits" in task.lengths]
        measure = (
            " Its lengths are the limits of the configuration: a run with few prompts measures them." if limited else ""
        )
        raise ConfigError(
            f"The estimate of {of.name} is {_range(of.hours, _hours)} GPU-hours, and cost.limit_gpu_hours is "
            f"{of.limit:g}; the largest part is {largest.task} with {_hours(largest.hours.point)}.",
            f"Use {LESS[largest.stage]}; or raise cost.limit_gpu_hours.{measure}",
        )
    if not of.known:
        raise ConfigError(
            f"cost.limit_gpu_hours is {of.limit:g}, and the GPU-hours of {of.name} are not known: {of.unknown[0]}",
            "Give what is missing, or leave cost.limit_gpu_hours out until one run has measured it.",
        )


def _row(task: TaskEstimate, of: Estimate) -> tuple[str, ...]:
    hours = "unknown" if task.hours is None else _range(task.hours, _hours)
    if of.unit == "GPU-hours" and not task.gpus:
        hours = "no GPU"
    sources = [f"tokens: {task.lengths}"] if task.lengths else []
    if task.hours is not None and hours != "no GPU":
        sources.append(f"time: {task.speed}")
    tokens = "" if task.tokens is None else _range(task.tokens, count)
    return task.task, count(task.prompts), _range(task.samples, count), tokens, hours, "; ".join(dict.fromkeys(sources))


def _range(of: Range, words: Callable[[float], str]) -> str:
    low, point, high = words(of.low), words(of.point), words(of.high)
    if low == point == high:
        return point
    return f"{point} ({low} to {high})"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _money(of: Estimate) -> str:
    return DASH if of.money is None else f"{_range(of.money, lambda value: f'{value:,.2f}')} {of.currency}"


def _bytes(value: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


def _memory(of: MemoryEstimate) -> str:
    parts = ["weights unknown" if of.weights is None else f"weights {_gib(of.weights)}"]
    if of.optimizer is not None:
        parts.append(f"gradients and optimizer {_gib(of.optimizer)}")
    if of.cache is not None:
        parts.append(f"KV cache of one response of {of.cache_tokens:,} tokens {_gib(of.cache)}")
    against = ""
    if of.gpus and of.memory:
        fits = {True: "fits", False: "DOES NOT FIT", None: "unknown whether it fits"}[of.fits]
        against = f" on each of {plural(of.gpus, 'GPU')} of {_gib(of.memory)}: {fits}"
    elif of.gpus:
        key = f"cluster.stages.{of.stage}.gpu.memory"
        against = f" on each of {plural(of.gpus, 'GPU')}, whose memory is unknown ({key})"
    note = f" ({of.note})" if of.note else ""
    return f"{of.stage}, {of.model}: {', '.join(parts)}{against}{note}"


def _gib(value: float) -> str:
    return f"{value / GIB:.3g} GiB"
