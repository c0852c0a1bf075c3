"""Run a stage's command and log each unit of its work as soon as it is done.

``python -m benchmarks.faults.counted LOG STAGE ...`` is ``thinksafe STAGE ...`` with one difference: ``LOG`` gets a
line ``<seconds of the monotonic clock> <units>`` for every decoding step of the model (tokens of the rows that were
still unfinished), for every call of the guard (rows), or for every optimiser step (its number). The lines are written
without a buffer, so a killed process leaves its lines, and work that never reached a chunk is counted too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

Note = Callable[[int], None]


def _tokens(note: Note) -> None:
    import torch
    from transformers import GenerationMixin, StoppingCriteria, StoppingCriteriaList

    class Count(StoppingCriteria):
        def __init__(self, ends: list[int]) -> None:
            self._ends = torch.tensor(ends)
            self._unfinished: Any = None

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            last = input_ids[:, -1]
            if self._unfinished is None:
                self._unfinished = torch.ones_like(last, dtype=torch.bool)
            note(int(self._unfinished.sum()))
            self._unfinished = self._unfinished & ~torch.isin(last, self._ends)
            return torch.zeros_like(last, dtype=torch.bool)

    generate = GenerationMixin.generate

    @wraps(generate)
    def counted(self: Any, **options: Any) -> Any:
        options["stopping_criteria"] = StoppingCriteriaList([Count(options["eos_token_id"])])
        return generate(self, **options)

    GenerationMixin.generate = counted  # type: ignore[assignment, method-assign]


def _rows(note: Note) -> None:
    from thinksafe.judging.guards.exact import ExactGuard

    judge = ExactGuard.judge

    @wraps(judge)
    def counted(self: ExactGuard, rows: list[Any]) -> list[Any]:
        found = judge(self, rows)
        note(len(rows))
        return found

    ExactGuard.judge = counted  # type: ignore[method-assign]


def _steps(note: Note) -> None:
    from transformers.trainer_callback import CallbackHandler

    on_step_end = CallbackHandler.on_step_end

    @wraps(on_step_end)
    def counted(self: Any, args: Any, state: Any, control: Any) -> Any:
        note(state.global_step)
        return on_step_end(self, args, state, control)

    CallbackHandler.on_step_end = counted  # type: ignore[assignment, method-assign]


COUNTERS = {"sample": _tokens, "judge": _rows, "train": _steps}


def main() -> None:
    """Run the command line after the log's path."""
    log, *arguments = sys.argv[1:]
    stream = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(units: int) -> None:
        os.write(stream, f"{time.monotonic():.6f} {units}\n".encode())

    COUNTERS[arguments[0]](note)
    sys.argv = ["thinksafe", *arguments]
    from thinksafe.cli.main import main as thinksafe

    thinksafe()


if __name__ == "__main__":
    main()
