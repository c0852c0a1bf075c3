"""How many prompts the sets of a configuration have, as far as that is known before they are prepared."""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.data import Benchmark, FileSource, PromptSet, label_of
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.suite import SuiteConfig
from thinksafe.estimating.measured import Measured
from thinksafe.estimating.work import Sizes
from thinksafe.prompts.sources import load_set
from thinksafe.records import Label


def set_sizes(config: RealignmentConfig | SuiteConfig, measured: Measured) -> Sizes:
    """Return the prompts of each use: as configured, else counted in a local file, else as an earlier run had them.

    Raises:
        InputError: a local file is missing or malformed.
    """
    unknown: list[str] = []

    def size(prompts: PromptSet | Benchmark, use: str, label: Label) -> int:
        source = prompts.prompts
        configured = prompts.size if isinstance(prompts, Benchmark) else source.count
        if configured is not None:
            return configured
        if isinstance(source, FileSource) and Path(source.path).is_file():
            return len(load_set(prompts, label, config.seed))
        before = measured.sets.get((use, prompts.name))
        if before is None:
            unknown.append(prompts.name)
        return before or 0

    training: dict[Label, int] = {"harmful": 0, "benign": 0}
    if isinstance(config, RealignmentConfig):
        sets: dict[Label, tuple[PromptSet, ...]] = {"harmful": config.data.harmful, "benign": config.data.benign}
        training = {label: sum(size(of, "training", label) for of in each) for label, each in sets.items()}
    evaluation = {
        benchmark.name: size(benchmark, "evaluation", label_of(benchmark.metric))
        for benchmark in config.evaluation.benchmarks
    }
    return Sizes(training, evaluation, tuple(unknown))
