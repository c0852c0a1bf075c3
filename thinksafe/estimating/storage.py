"""Bytes that a run writes into the store."""

from __future__ import annotations

from collections.abc import Sequence

from thinksafe.config.model import RealignmentConfig
from thinksafe.config.suite import SuiteConfig
from thinksafe.estimating.memory import trained_parameters
from thinksafe.estimating.model import TaskEstimate
from thinksafe.estimating.ranges import NOTHING, Range, total
from thinksafe.models.shapes import BYTES, Shapes

ROW = {"sample": 600, "judge": 250, "grade": 150}
"""Bytes of a row without its response: prompt, settings and ids."""
TOKEN = 5
"""Bytes of a response token."""
SPREAD = 2.0
"""Factor by which prompts may be longer than assumed."""
CHECKPOINT, CHECKPOINTS = 12, 2
"""Bytes of a trained parameter in a checkpoint, and how many are kept while training goes on."""


def storage(tasks: Sequence[TaskEstimate], config: RealignmentConfig | SuiteConfig, shapes: Shapes) -> Range:
    """Return the bytes of rows, of what is trained, and of checkpoints while they are kept.

    Args:
        tasks: The estimated tasks.
        config: What is trained; nothing by an evaluation.
        shapes: Sizes of models; what is unknown counts as nothing.
    """
    rows = total(task.samples.times(ROW[task.stage]) for task in tasks if task.stage in ROW)
    texts = total(task.tokens.times(TOKEN) for task in tasks if task.stage == "sample" and task.tokens is not None)
    trained = NOTHING
    if isinstance(config, RealignmentConfig):
        count = sum(task.stage == "train" for task in tasks)
        parameters = trained_parameters(config, shapes) or 0.0
        each = parameters * (BYTES[config.student.dtype] if config.training.parameters == "full" else BYTES["float32"])
        kept = parameters * CHECKPOINT * CHECKPOINTS if config.training.checkpoint_steps else 0.0
        trained = Range.around(count * (each + kept))
    return total([rows.times(Range.around(1, SPREAD)), texts.times(Range.around(1, SPREAD)), trained])
