"""How much work a configuration asks for: the samples of each task, before anything is known of their lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from thinksafe.config.compared import scoped
from thinksafe.config.comparison import Comparison, shared_work
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.planning import sections_of, suite_sections
from thinksafe.config.rounds import round_suffix
from thinksafe.config.sections import JudgeSection, SampleSection
from thinksafe.config.suite import SuiteConfig
from thinksafe.methods.base import Method
from thinksafe.methods.objectives import OnPolicy
from thinksafe.records import UNASKED, Arm, Label
from thinksafe.run.details import Prediction


class Part(NamedTuple):
    """Samples of one kind."""

    arm: Arm
    samples: int
    limit: int
    """Most tokens of a response."""
    label: Label = "harmful"
    problem: bool = False
    """Of prompts with a reference answer: these are graded."""
    most: float = 1.0
    """How many times as many samples retries may make it."""


class Task(NamedTuple):
    """One task that takes long: it samples, judges, grades or trains."""

    name: str
    stage: str
    use: str
    """``pilot``, ``training``, ``again`` (of a later round), ``evaluation`` or ``rollout``."""
    prompts: int
    parts: tuple[Part, ...]
    """What it samples or, for other stages, what it reads."""
    times: float = 1.0
    """How often it reads each: guards and parts of a response, epochs."""
    steps_sample: bool = False
    """Training samples the responses itself."""


class Sizes(NamedTuple):
    """Numbers of prompts."""

    training: dict[Label, int]
    evaluation: dict[str, int]
    """By benchmark."""
    unknown: tuple[str, ...]
    """Sets whose size is unknown; they count as empty."""


def drawn(
    arms: Mapping[Label, Iterable[Arm]], prompts: Mapping[Label, int], n: int, limit: int = 0, contexts: int = 0
) -> list[Part]:
    """Return what is sampled of training prompts.

    Args:
        arms: Arms of each label.
        prompts: Prompts of each label.
        n: Samples of a prompt in each arm.
        limit: Most tokens of a response.
        contexts: Safety contexts, in each of which a prompt is sampled once in the arm ``context``.
    """
    times: dict[Arm, int] = {"context": contexts, **dict.fromkeys(UNASKED, 1)}
    return [
        Part(arm, prompts.get(label, 0) * times.get(arm, n), limit, label)
        for label, each in arms.items() for arm in each if prompts.get(label, 0)
    ]


def drawn_by(method: Method, prompts: Mapping[Label, int], epochs: int = 1) -> list[Part]:
    """Return what a method samples of training prompts, in the stage sample or while it trains."""
    responses, objective = method.responses(), method.minimises()
    if isinstance(objective, OnPolicy):
        plain: dict[Label, tuple[Arm, ...]] = dict.fromkeys(responses.labels, ("plain",))
        return drawn(plain, prompts, objective.rollouts * epochs, objective.max_tokens)
    return [part for part in drawn(responses.arms, prompts, method.samples) if part.arm not in UNASKED]


def tokens_of(parts: Iterable[Part], lengths: Mapping[str, float]) -> float:
    """Return the tokens of samples whose mean length is known by arm."""
    return sum(part.samples * lengths.get(part.arm, 0.0) for part in parts)


def retried(found: Prediction | None) -> tuple[float, float]:
    """Return how many samples a steered prompt takes with retries, at least and at most."""
    return (1.0, 1.0) if found is None else (found.drawn_low, found.drawn_high)


def realignment(config: RealignmentConfig, sizes: Sizes, *, champion: bool) -> list[Task]:
    """Return the tasks of a realignment that goes on to its end.

    Args:
        config: The configuration.
        sizes: Numbers of its prompts.
        champion: There is a champion to compare with.
    """
    planned, method = sections_of(config), config.method
    pilot: dict[Label, int] = {
        "harmful": min(planned.prepare.pilot, sizes.training["harmful"]),
        "benign": min(planned.prepare.pilot_benign, sizes.training["benign"]),
    }
    tasks = _pair("pilot", "pilot", planned.sample_pilot, planned.judge_pilot, pilot)
    objective = method.minimises()
    labels = method.responses().labels
    used = {label: sizes.training[label] for label in labels}
    if isinstance(objective, OnPolicy):
        trained = tuple(drawn_by(method, used))
    else:
        trained = tuple(part._replace(most=1.0) for part in _sampled(planned.sample_training, used, silent=True))
    rounds = config.sampling.rounds
    for number in range(1, rounds + 1):
        ending, use = round_suffix(number, rounds), "training" if number == 1 else "again"
        tasks += _pair(f"training{ending}", use, planned.sample_training, planned.judge_filter, sizes.training)
        tasks.append(Task(
            f"train{ending}", "train", use, sum(used.values()), trained, config.training.epochs,
            steps_sample=isinstance(objective, OnPolicy),
        ))
    for role in ("base", "candidate", *(["champion"] if champion else [])):
        tasks += _measured(role, config, planned.sample_evaluation, planned.judge_evaluate, sizes)
    if config.deploy.kind != "none":
        rows = min(planned.sample_rollout.prompts or sum(sizes.evaluation.values()), sum(sizes.evaluation.values()))
        parts = (Part("plain", rows, planned.sample_rollout.settings.max_tokens),)
        tasks.append(Task("sample-rollout", "sample", "rollout", rows, parts))
    return [task for task in tasks if task.parts]


def evaluation(config: SuiteConfig, sizes: Sizes) -> list[Task]:
    """Return the tasks of an evaluation."""
    planned = suite_sections(config, config.student.reasoning if config.student else "think")
    return _measured("evaluated", config, planned.sample_evaluation, planned.judge_evaluate, sizes)


def comparison(of: Comparison, sizes: Sizes, *, champion: bool) -> list[Task]:
    """Return the tasks of a comparison: what methods share once, the rest under the methods' names."""
    found: dict[str, Task] = {}
    for shared in shared_work(of):
        owners = {"pilot": shared.pilot, "training": shared.samples}
        for task in realignment(of.methods[shared.method], sizes, champion=champion):
            own = shared.method if task.stage == "train" else owners.get(task.use, shared.method)
            alone = task.use == "rollout" or task.name.endswith(("-base", "-champion"))
            name = task.name if alone else scoped(task.name, own)
            if task.use != "rollout":  # a comparison serves nothing
                found.setdefault(name, task._replace(name=name))
    return list(found.values())


def _pair(
    name: str, use: str, sample: SampleSection, judge: JudgeSection, prompts: Mapping[Label, int]
) -> list[Task]:
    """Return the tasks that sample and judge training prompts."""
    sampled, read = _sampled(sample, prompts), _sampled(sample, prompts, silent=True)
    count = sum(prompts.get(label, 0) for label, arms in sample.arms.items() if arms)
    judged = tuple(part for part in read if part.arm != "rollout")
    return [
        Task(f"sample-{name}", "sample", use, count, tuple(sampled)),
        Task(f"judge-{name}", "judge", use, count, judged, readers(judge)),
    ]


def _sampled(section: SampleSection, prompts: Mapping[Label, int], *, silent: bool = False) -> list[Part]:
    parts = drawn(section.arms, prompts, section.n, section.settings.max_tokens, len(section.contexts))
    tries = 1 + (len(section.retries.templates) if section.retries is not None else 0)
    return [
        part._replace(most=float(tries)) if part.arm == "steered" else part
        for part in parts if silent or part.arm not in UNASKED
    ]


def readers(section: JudgeSection) -> float:
    """Return how many verdicts a sample gets: by each guard, on each part."""
    second = 1 / section.second.every_n if section.second is not None else 0.0
    return len(section.parts) * (len(section.guard.each) + second)


def _measured(
    role: str, config: RealignmentConfig | SuiteConfig, sample: SampleSection, judge: JudgeSection, sizes: Sizes
) -> list[Task]:
    parts = []
    for benchmark in config.evaluation.benchmarks:
        problem = benchmark.metric == "reasoning"
        settings = (sample.settings_reasoning or sample.settings) if problem else sample.settings
        times = sample.n_reasoning if problem else sample.n
        if rows := sizes.evaluation[benchmark.name]:
            label: Label = "harmful" if benchmark.metric == "harm" else "benign"
            parts.append(Part("plain", rows * times, settings.max_tokens, label, problem))
    count = sum(sizes.evaluation.values())
    judged, graded = (tuple(part for part in parts if part.problem is problem) for problem in (False, True))
    return [
        Task(f"sample-{role}", "sample", "evaluation", count, tuple(parts)),
        Task(f"judge-{role}", "judge", "evaluation", count, judged, readers(judge)),
        Task(f"grade-{role}", "grade", "evaluation", count, graded),
    ]
