"""What is known of a configuration's student: looked up in a store, which need not answer."""

from __future__ import annotations

import os
from pathlib import Path

from thinksafe.config.model import RealignmentConfig
from thinksafe.config.suite import SuiteConfig
from thinksafe.errors import ThinkSafeError
from thinksafe.estimating.build import Known
from thinksafe.estimating.measured import Measured, find_measured
from thinksafe.registry import ledger
from thinksafe.store import Store, check_reachable, open_store

GPU_DEVICE = "/dev/nvidiactl"
"""Tells whether a machine has GPUs, without loading a library that would start them."""


def known_here(config: RealignmentConfig | SuiteConfig, artifacts: str) -> Known:
    """Return what a store knows of a configuration's student; a store that cannot be read is a note, no error.

    Args:
        config: The configuration.
        artifacts: Root of the store; empty for none.
    """
    if not artifacts:
        return Known(Measured(problem="no store is named (--artifacts)."))
    try:
        check_reachable(artifacts)
        if "://" not in artifacts and not Path(artifacts).is_dir():
            return Known(Measured(problem=f"there is no folder {artifacts}."))
        return known_in(open_store(artifacts), config)
    except ThinkSafeError as error:
        return Known(Measured(problem=error.problem))


def known_in(
    store: Store, config: RealignmentConfig | SuiteConfig, *, run_id: str = "", here: bool = False
) -> Known:
    """Return what a store knows of a configuration's student.

    Args:
        store: Holds records and ledger.
        config: The configuration.
        run_id: A run that does not count: the one that is estimated.
        here: It runs on this machine, unless the configuration is for a cluster.

    Raises:
        StoreError: the store failed, or the ledger is malformed.
    """
    if config.student is None:
        measured = Measured(problem="the suite names no student.")
    else:
        measured = find_measured(store, config.student, but=run_id)
    champion = None
    if isinstance(config, RealignmentConfig):
        champion = ledger.champion_for_run(store, config.registry.model, run_id)
    return Known(measured, champion is not None, without_gpus=here and not os.path.exists(GPU_DEVICE))
