"""Imports of the fork server before it forks stages (:mod:`thinksafe_pipelines.local.prefork`); import it nowhere else.

It lists modules that several stages import and that start no work: a fork keeps one thread, so a module that computes
in threads while it is imported must not be here. A module that only one stage of a run imports would just delay the
first stage.
"""

from __future__ import annotations

import gc
import os
import warnings
import weakref
from contextlib import suppress
from importlib import import_module

from thinksafe.config.stage_table import STAGES
from thinksafe.run.parents import dying_with

MODULES = (
    "thinksafe.cli.main", "thinksafe.run.progress", "thinksafe.kube.executor",
    *(f"thinksafe.stages.{stage}" for stage, spec in STAGES.items() if spec.preloaded),
    "thinksafe.store.local", "thinksafe.sampling.engines.transformers", "torch", "peft", "mlflow",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "scipy.optimize",
    "scipy.special",
)

SERVER = os.getpid()
"""Process that imported this, the parent of all stages."""

dying_with(os.getppid())()
for descriptor in (1, 2):  # the terminal is the run's; the stages have their logs
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for module in MODULES:
        with suppress(Exception):  # the stage that needs it reports the error
            import_module(module)
    import_module("thinksafe.cli.main").command()
for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
    finalizer.atexit = False  # the server's objects are not a stage's to clean up
gc.collect()
gc.freeze()  # collections in a fork would write to, and so copy, the pages of all that was imported
