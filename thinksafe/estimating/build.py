"""From the work of a run and what is known of its student to the estimate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from thinksafe.config.comparison import Comparison
from thinksafe.config.load import canonical
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.suite import SuiteConfig
from thinksafe.estimating import work
from thinksafe.estimating.machines import asked_gpus, models_of, needed_gpus
from thinksafe.estimating.measured import Measured, Speed, settings_of, siblings
from thinksafe.estimating.memory import memory_of_stages
from thinksafe.estimating.model import Estimate, TaskEstimate, Unit
from thinksafe.estimating.ranges import NOTHING, Range, total
from thinksafe.estimating.sizes import set_sizes
from thinksafe.estimating.storage import storage
from thinksafe.estimating.work import Task
from thinksafe.models.shapes import Shapes
from thinksafe.records import UNASKED

SAME, SIBLING, PILOT = 1.2, 1.5, 2.0
"""Factors by which a length may differ from that of the same task, of the same task of another model, of the pilot."""
SAME_SPEED, OTHER_SPEED = 1.4, 2.0
"""Factors by which the time of a unit of work may differ from that of the same task, and of another."""
SLOW, FAST = 10e12, 150e12
"""Useful operations a second of one GPU, from a small one that waits for memory to a large one with full batches. Only
used before anything was measured."""
FORWARD, TRAINING, SAMPLING_TRAINING = 2, 6, 8
"""Operations a parameter and token: to read or write it, to train on it, to do both."""
LIMITS, ARITHMETIC = "limits of the configuration", "arithmetic"
Config = RealignmentConfig | SuiteConfig | Comparison


class Known(NamedTuple):
    """What is known besides the configuration."""

    measured: Measured
    champion: bool = False
    """There is a champion to compare with."""
    without_gpus: bool = False
    """It runs on a machine without GPUs; otherwise it has those that the recipe needs, or had in its last run."""


def estimate(of: Config, known: Known, shapes: Shapes | None = None) -> Estimate:
    """Return the estimate of a realignment, an evaluation or a comparison.

    Args:
        of: The configuration.
        known: What was measured, and where it runs.
        shapes: Sizes of models; by default the hub is asked.

    Raises:
        InputError: a local file of prompts is missing or malformed.
    """
    config = of.base if isinstance(of, Comparison) else of
    sizes = set_sizes(config, known.measured)
    if isinstance(of, Comparison):
        pipeline, tasks = "compare", work.comparison(of, sizes, champion=known.champion)
        configs: Mapping[str, RealignmentConfig | SuiteConfig] = of.methods
    elif isinstance(of, SuiteConfig):
        pipeline, tasks, configs = "evaluate", work.evaluation(of, sizes), {}
    else:
        pipeline, tasks = "realign", work.realignment(of, sizes, champion=known.champion)
        configs = {}
    shapes = shapes or Shapes()
    builder = _Builder(config, configs, known, shapes)
    found = tuple(builder.task(task) for task in tasks)
    unit: Unit = "GPU-hours" if any(task.gpus for task in found) else "hours of this machine"
    if unit == "GPU-hours":
        found = tuple(task if task.gpus else task.model_copy(update={"hours": NOTHING}) for task in found)
    others = builder.others({task.task for task in found}) if unit != "GPU-hours" else None
    hours = total([*(task.hours for task in found if task.hours is not None), *([others] if others else [])])
    cost = config.cost if isinstance(config, RealignmentConfig) else None
    price = cost.gpu_hour if cost is not None and unit == "GPU-hours" else None
    unknown = [
        f"The number of prompts of {name} is unknown; set prompts.count, or estimate again after a run."
        for name in sizes.unknown
    ] + _untimed(found)
    sampled = [task for task in found if task.stage == "sample"]
    own = [task for task in found if task.stage == "train" and builder.samples_itself(task.task)]
    return Estimate(
        name=config.name, pipeline=pipeline, unit=unit, tasks=found, others=others,
        prompts=sum(sizes.training.values()) + sum(sizes.evaluation.values()),
        samples=total(task.samples for task in sampled),
        tokens=total(task.tokens for task in [*sampled, *own] if task.tokens is not None), hours=hours,
        money=hours.times(price) if price is not None else None,
        currency=cost.currency if cost is not None else "", storage=storage(found, config, shapes),
        memory=memory_of_stages(config, shapes), runs=builder.runs, unknown=tuple(unknown),
        notes=_notes(known, of), limit=cost.limit_gpu_hours if cost is not None else None,
    )


def _untimed(tasks: Sequence[TaskEstimate]) -> list[str]:
    """Return a sentence for each reason for which the hours of tasks are unknown."""
    reasons: dict[str, list[str]] = {}
    for task in tasks:
        if task.hours is None:
            reasons.setdefault(task.speed, []).append(task.task)
    return [f"The hours of {', '.join(names)} are unknown: {reason}." for reason, names in reasons.items()]


def _notes(known: Known, of: Config) -> tuple[str, ...]:
    found = []
    if known.measured.problem:
        found.append(f"No earlier run was looked for: {known.measured.problem}")
    elif not known.measured.runs:
        found.append("No earlier run of this student was found in the store.")
    if not isinstance(of, SuiteConfig) and not known.champion:
        found.append("There is no champion, so none is evaluated.")
    return tuple(found)


class _Builder:
    """Estimates tasks one by one."""

    def __init__(
        self, config: RealignmentConfig | SuiteConfig, configs: Mapping[str, RealignmentConfig | SuiteConfig],
        known: Known, shapes: Shapes,
    ) -> None:
        self._config, self._configs, self._known, self._shapes = config, configs, known, shapes
        self._documents: dict[str, dict[str, Any]] = {}
        self._measured = known.measured
        self._used: set[str] = set()
        self._on_policy: set[str] = set()

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs whose measurements were used, the newest first."""
        return tuple(run for run in self._measured.runs if run in self._used)

    def samples_itself(self, task: str) -> bool:
        return task in self._on_policy

    def others(self, named: set[str]) -> Range | None:
        """Return the hours of the stages that are no task, as the last run had them."""
        found = [
            Range.around(speeds[0].hours(1), SAME_SPEED) for task, speeds in self._measured.speeds.items()
            if task not in named and speeds[0].settings is None and not speeds[0].gpus
            and not task.startswith(("grade", "sample", "judge", "train"))
        ]
        return total(found) if found else None

    def task(self, task: Task) -> TaskEstimate:
        """Return the estimate of a task."""
        config = self._of(task.name)
        gpus = self._gpus(task, config)
        samples = total(
            Range(low=part.samples, point=part.samples * (1 + part.most) / 2, high=part.samples * part.most)
            for part in task.parts
        )
        tokens, lengths = (None, "") if task.stage == "grade" else self._tokens(task)
        if task.steps_sample:
            self._on_policy.add(task.name)
        if task.stage == "train":
            samples, tokens, lengths = self._examples(task, config, samples, tokens, lengths)
        hours, speed = self._hours(task, config, gpus, samples, tokens)
        return TaskEstimate(
            task=task.name, stage=task.stage, prompts=task.prompts, samples=samples,
            tokens=tokens if task.stage in ("sample", "train") else None,
            lengths=lengths if task.stage in ("sample", "train") else "",
            hours=hours, gpus=gpus, speed=speed,
        )

    def _of(self, task: str) -> RealignmentConfig | SuiteConfig:
        return self._configs.get(task.partition(".")[2], self._config)

    def _document(self, task: str) -> dict[str, Any]:
        name = task.partition(".")[2]
        if name not in self._documents:
            self._documents[name] = canonical(self._of(task))
        return self._documents[name]

    def _tokens(self, task: Task) -> tuple[Range, str]:
        """Return the response tokens that a task samples or reads once."""
        source = task.name if task.steps_sample else _sampling(task.name)
        own = self._length(source)
        if own is not None:
            (length, run), spread = own
            self._used.add(run)
            found = [self._part(part, Range.around(min(length, part.limit or length), spread)) for part in task.parts]
            return total(found), f"run {run}"
        written = self._document(task.name).get("method", {})
        by_teacher = task.use == "training" and isinstance(written, dict) and written.get("teacher")
        lengths, sources = [], set()
        for part in task.parts:
            length_of = None if part.problem or by_teacher else self._measured.arms.get(part.arm)
            if length_of is None and part.arm in ("steered", "context") and not by_teacher:
                length_of = self._measured.arms.get("plain")
            if part.arm in UNASKED:
                lengths.append(NOTHING)
            elif length_of is None:
                lengths.append(self._part(part, Range(low=min(1, part.limit), point=part.limit, high=part.limit)))
                sources.add(LIMITS)
            else:
                length_of = min(length_of, part.limit)
                most = max(length_of, min(length_of * PILOT, part.limit))
                lengths.append(self._part(part, Range(low=length_of / PILOT, point=length_of, high=most)))
                sources.add(f"pilot of run {self._measured.pilot_run}")
                self._used.add(self._measured.pilot_run)
        return total(lengths), ", ".join(sorted(sources))

    def _part(self, part: work.Part, length: Range) -> Range:
        samples = Range(low=part.samples, point=part.samples * (1 + part.most) / 2, high=part.samples * part.most)
        return NOTHING if part.arm in UNASKED else samples.times(length)

    def _length(self, task: str) -> tuple[tuple[float, str], float] | None:
        if task in self._measured.tokens:
            return self._measured.tokens[task], SAME
        near = next(iter(siblings(task, self._measured.tokens)), None)
        return (self._measured.tokens[near], SIBLING) if near is not None else None

    def _examples(
        self, task: Task, config: RealignmentConfig | SuiteConfig, samples: Range, tokens: Range | None, lengths: str
    ) -> tuple[Range, Range | None, str]:
        """Return the examples of a training, its tokens over all epochs, and where the lengths are from."""
        if task.steps_sample or not isinstance(config, RealignmentConfig):
            return samples, None if tokens is None else tokens.times(task.times), lengths
        kept, of = self._measured.kept or (None, "")
        if kept is not None and of == config.method.kind:
            share = Range(low=kept / SAME, point=kept, high=min(1.0, kept * SAME))
        else:
            share = Range(low=self._measured.acceptance or 0.0, point=1.0, high=1.0)
        examples = samples.times(share)
        if self._measured.example is not None and of == config.method.kind:
            length, run = self._measured.example
            self._used.add(run)
            return examples, examples.times(Range.around(length, SAME)).times(task.times), f"run {run}"
        unread = [part for part in task.parts if part.arm in UNASKED]
        if unread:  # nobody has read the responses yet
            longest = config.training.max_length
            each = Range(low=1, point=longest, high=longest)
            return examples, examples.times(each).times(task.times), LIMITS
        return examples, None if tokens is None else tokens.times(share).times(task.times), lengths

    def _hours(
        self, task: Task, config: RealignmentConfig | SuiteConfig, gpus: int, samples: Range, tokens: Range | None
    ) -> tuple[Range | None, str]:
        units = samples.times(task.times) if task.stage in ("judge", "grade") else tokens
        if units is None:
            return None, "the work is unknown"
        speed, spread = self._speed(task, gpus)
        if speed is not None:
            self._used.add(speed.run_id)
            return units.times(Range.around(speed.hours(1), spread)), f"run {speed.run_id}"
        models = models_of(task, config)
        if not models:  # rules, or somebody else's server
            return NOTHING, "no model here"
        if not gpus:
            return None, "nothing like it was measured on a machine without a GPU"
        sizes = [self._shapes.of(model).parameters for model in models]
        if not all(sizes) or tokens is None:
            return None, f"the number of parameters of {models[0].model} is unknown"
        each = {"train": SAMPLING_TRAINING if task.steps_sample else TRAINING}.get(task.stage, FORWARD)
        operations = each * sum(size or 0.0 for size in sizes)
        read = tokens.times(task.times / len(models)) if task.stage == "judge" else tokens
        pace = Range(low=1 / FAST, point=(SLOW * FAST) ** -0.5, high=1 / SLOW)
        return read.times(operations / 3600).times(pace), ARITHMETIC

    def _speed(self, task: Task, gpus: int) -> tuple[Speed | None, float]:
        """Return the speed of the nearest task that was measured with the same settings, and how sure it is."""
        wanted = settings_of(self._document(task.name), task.stage, task.name)
        measured = self._measured.speeds

        def fitting(names: Iterable[str]) -> Speed | None:
            return next(
                (
                    speed for name in names for speed in measured.get(name, ())
                    if speed.settings == wanted and bool(speed.gpus) == bool(gpus)
                ), None,
            )

        if (own := fitting([task.name])) is not None:
            return own, SAME_SPEED
        alike = siblings(task.name, measured)
        far = [name for name in measured if name.startswith(f"{task.stage}-")] if task.stage != "train" else []
        return fitting([*alike, *far]), OTHER_SPEED

    def _gpus(self, task: Task, config: RealignmentConfig | SuiteConfig) -> int:
        """Return the GPUs that the task holds: as the cluster's stage has, else as measured or needed here."""
        asked = asked_gpus(task, config)
        if asked is not None:
            return asked
        if speeds := self._measured.speeds.get(task.name):
            return speeds[0].gpus
        return 0 if self._known.without_gpus else needed_gpus(config, task.stage)


def _sampling(task: str) -> str:
    """Return the task that samples what a task of another stage reads."""
    stage, dash, rest = task.partition("-")
    if stage == "train":
        return f"sample-training{task[len('train'):]}"
    return f"sample{dash}{rest}"
