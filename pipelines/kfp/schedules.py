"""Keep the recurring runs of a pipeline as the config wants them, without ending a run under way.

KFP's API cannot update a recurring run, so one that differs is replaced. Deleting a recurring run also deletes the
workflows of its runs, and Kubeflow shows those under way as RUNNING for ever. So an unwanted recurring run is disabled
first, and deleted once none of its runs is under way.

The description marks what ``publish`` made. It also holds a digest of the owner, by which recurring runs are found
after ``kfp.pipeline`` or ``kfp.experiment`` changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from thinksafe.config.cluster import ClusterSettings
from thinksafe.digests import digest_json
from thinksafe_pipelines.kfp.access import Place, connect, speaking, user_namespace
from thinksafe_pipelines.kfp.wanted import Wanted, name_of

PAGE = 100
SHOWN = 5
"""Newest runs of a recurring run that are shown."""
ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
"""States in which nothing of a run is under way."""
MANAGED = re.compile(r"Managed by thinksafe publish; (?:owner (?P<owner>\w+); )?settings (?P<settings>\w+)")


@dataclass(frozen=True)
class Run:
    """A run of a recurring run."""

    run_id: str
    state: str

    def __str__(self) -> str:
        return f"{self.run_id} ({self.state})"


@dataclass(frozen=True)
class Scheduled:
    """A recurring run as the server has it."""

    recurring_run_id: str
    name: str
    cron: str
    enabled: bool
    version_id: str
    runs: tuple[Run, ...]
    """Its newest runs."""
    under_way: tuple[Run, ...]
    """Those of its runs that have not ended."""


@dataclass
class Settled:
    """What became of the recurring runs of a pipeline."""

    recurring_run_id: str = ""
    """The one that is enabled; empty where the schedule is off."""
    made: bool = False
    removed: list[str] = field(default_factory=list)
    """Ids of those that were deleted."""
    waiting: dict[str, tuple[Run, ...]] = field(default_factory=dict)
    """Id of each that is disabled and stays for its runs under way, and these."""


def owner_of(cluster: ClusterSettings, config: str) -> str:
    """Return what identifies the owner of recurring runs, whatever their names are.

    Args:
        cluster: Settings of the cluster; namespace, service account and store count.
        config: Name of the config.
    """
    return digest_json([cluster.namespace, cluster.service_account, cluster.store, config])[:16]


def settle(
    client: Any, place: Place, want: Wanted, settings: dict[str, Any], experiment_id: str, owner: str
) -> Settled:
    """Bring the recurring runs of a pipeline to what is wanted: one with these settings, or none.

    Args:
        client: KFP's client.
        place: Where it runs.
        want: The pipeline.
        settings: Arguments of KFP's ``create_recurring_run``.
        experiment_id: Experiment of the recurring run.
        owner: See :func:`owner_of`.

    Raises:
        ApiException: the server refused.
    """
    digest = digest_json({**settings, "experiment": experiment_id, "name": want.name})[:32]
    found, done = list(_found(client, place, want.pipeline, owner)), Settled()
    fit = [item for item in found if want.enabled and _enabled(item) and _settings(item) == digest]
    others = [item for item in found if item not in fit[:1]]
    for item in others:
        _disable(client, item)
    if want.enabled and not fit:
        label = f"owner {_label(want.pipeline, owner)}; settings {digest}"
        fit = [
            client.create_recurring_run(
                experiment_id, want.name, description=f"Managed by thinksafe publish; {label}", enabled=True, **settings
            )
        ]
        done.made = True
    done.recurring_run_id = str(fit[0].recurring_run_id) if fit else ""
    _delete_idle(client, others, done)
    return done


def scheduled(place: Place, pipeline: str = "realign", owner: str = "") -> list[Scheduled]:
    """Return the recurring runs of a pipeline, with their newest runs.

    Args:
        place: Where they are; ``kfp.pipeline`` names them.
        pipeline: Which pipeline.
        owner: See :func:`owner_of`; finds those under earlier names, too.

    Raises:
        ConfigError: there is no pipeline of this name, or the access is not set up.
        StageError: the server cannot be reached, or refused.
    """
    client = connect(place)
    with speaking(place):
        return [
            Scheduled(
                recurring_run_id=item.recurring_run_id, name=item.display_name, cron=_cron(item),
                enabled=_enabled(item), version_id=item.pipeline_version_reference.pipeline_version_id,
                runs=tuple(islice(_runs(client, item), SHOWN)), under_way=_under_way(client, item),
            )
            for item in _found(client, place, pipeline, owner)
        ]


def unschedule(place: Place, pipeline: str = "realign", owner: str = "", *, now: bool = False) -> Settled:
    """Disable the recurring runs of a pipeline, and delete those of which no run is under way.

    Arguments and errors as :func:`scheduled`; with ``now`` those with runs under way go, too, and their runs with them.
    """
    client, done = connect(place), Settled()
    with speaking(place):
        found = list(_found(client, place, pipeline, owner))
        for item in found:
            _disable(client, item)
        _delete_idle(client, found, done, now=now)
    return done


def _found(client: Any, place: Place, pipeline: str, owner: str) -> Iterator[Any]:
    """Yield what ``publish`` made for a pipeline in any experiment: under its name of now, or for the owner."""
    name, label = name_of(place.kfp, pipeline), _label(pipeline, owner) if owner else ""
    token = ""
    while True:
        page = client.list_recurring_runs(page_token=token, page_size=PAGE, namespace=user_namespace(place))
        for item in page.recurring_runs or []:
            managed = MANAGED.fullmatch(item.description or "")
            if managed and (item.display_name == name or (label and managed["owner"] == label)):
                yield item
        token = page.next_page_token or ""
        if not token:
            return


def _label(pipeline: str, owner: str) -> str:
    return digest_json([pipeline, owner])[:16]


def _runs(client: Any, item: Any) -> Iterator[Run]:
    """Yield the runs of a recurring run, the newest first. None is older than the recurring run itself."""
    token = ""
    while True:
        page = client.list_runs(
            page_token=token, page_size=PAGE, sort_by="created_at desc", experiment_id=item.experiment_id
        )
        for run in page.runs or []:
            if run.created_at and item.created_at and run.created_at < item.created_at:
                return
            if run.recurring_run_id == item.recurring_run_id:
                yield Run(str(run.run_id), str(run.state))
        token = page.next_page_token or ""
        if not token:
            return


def _under_way(client: Any, item: Any) -> tuple[Run, ...]:
    return tuple(run for run in _runs(client, item) if run.state not in ENDED)


def _disable(client: Any, item: Any) -> None:
    if _enabled(item):
        with _gone_is_fine():
            client.disable_recurring_run(item.recurring_run_id)


def _delete_idle(client: Any, items: list[Any], done: Settled, *, now: bool = False) -> None:
    """Delete recurring runs that are disabled already, so that no run can start after the check."""
    for item in items:
        under_way = () if now else _under_way(client, item)
        if under_way:
            done.waiting[str(item.recurring_run_id)] = under_way
            continue
        with _gone_is_fine():
            client.delete_recurring_run(item.recurring_run_id)
        done.removed.append(str(item.recurring_run_id))


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    from kfp_server_api import ApiException

    try:
        yield
    except ApiException as error:
        if error.status != 404:  # somebody else removed it first
            raise


def _settings(item: Any) -> str:
    managed = MANAGED.fullmatch(item.description or "")
    return managed["settings"] if managed else ""


def _enabled(item: Any) -> bool:
    return str(item.mode) == "ENABLE"


def _cron(item: Any) -> str:
    schedule = item.trigger.cron_schedule if item.trigger else None
    return str(schedule.cron) if schedule else ""
