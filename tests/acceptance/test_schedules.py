"""Schedules: they fire, an upgrade keeps the run under way, and so does an uninstall."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from accepting.cluster import Cluster
from accepting.leftovers import Leftovers
from accepting.release import Release
from accepting.runs import ENDED, Run
from accepting.waiting import until

SHORT = "micro-no-latent-safety"
"""A recipe whose runs end well after the diagnosis: there is nothing to steer."""
SOON, NEVER = "0 * * * * *", "0 0 0 1 1 *"


@pytest.fixture(scope="module")
def scheduled(cluster: Cluster) -> Iterator[Release]:
    """A release whose realignment runs every minute."""
    release = Release(
        cluster, "schedule", cluster={"schedule": {"enabled": True, "cron": SOON}}, config={"extends": SHORT}
    )
    yield release.install()
    release.uninstall("--no-hooks")


def runs_of(release: Release) -> list[Run]:
    """Return the runs of the release's schedules, the newest first."""
    done = release.command("schedule")
    assert done.returncode == 0, done.stderr
    found = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("  run ")]
    return [Run(release.cluster, run_id, release.store) for run_id in found]


def test_schedule_fires(cluster: Cluster, scheduled: Release) -> None:
    """Within two minutes there is a run, and it starts."""
    patience = cluster.settings.patience
    run = until("the first scheduled run", lambda: runs_of(scheduled), 150 * patience, 3.0)[0]
    run.wait("RUNNING", *ENDED, seconds=300)


def test_upgrade_while_a_scheduled_run_is_under_way(scheduled: Release) -> None:
    """A changed config replaces the recurring run; the run under way ends well, with its pods."""
    run = runs_of(scheduled)[0]
    assert run.state not in ENDED, "the run was too fast for this case"
    scheduled.upgrade(config={"seed": 4711}, cluster={"schedule": {"cron": NEVER}})
    shown = scheduled.command("schedule").stdout
    assert f"{NEVER!r}" in shown, shown
    assert f"the next publish after the end of run {run.run_id}" in shown or run.state in ENDED
    run.succeed()


def test_uninstall(cluster: Cluster, scheduled: Release) -> None:
    """While a scheduled run is under way the uninstall refuses, names it, and lets it run; afterwards all goes."""
    scheduled.upgrade(cluster={"schedule": {"cron": SOON}})
    known = {run.run_id for run in runs_of(scheduled)}
    fresh = until(
        "another scheduled run",
        lambda: [run for run in runs_of(scheduled) if run.run_id not in known and run.state not in ENDED],
        150 * cluster.settings.patience, 3.0,
    )[0]
    refused = scheduled.uninstall()
    if fresh.state not in ENDED:
        assert refused.returncode != 0
        assert scheduled.name in Leftovers(cluster).releases()
        fresh.terminate()
    fresh.wait()
    if refused.returncode != 0:
        time.sleep(2)
        done = scheduled.uninstall()
        assert done.returncode == 0, done.stdout + done.stderr
    labels = f"app.kubernetes.io/instance={scheduled.name},app.kubernetes.io/managed-by=Helm"
    for kind in ("configmaps", "serviceaccounts", "roles", "rolebindings", "jobs"):
        assert cluster.get(kind, labels=labels) == [], kind
    left = [one.display_name for one in Leftovers(cluster).kubeflow()["recurring_runs"]]
    assert not [name for name in left if name.startswith(scheduled.name)]
