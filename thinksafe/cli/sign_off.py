"""``thinksafe approve`` and ``thinksafe reject``: what a person says of a version that awaits approval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from thinksafe.config import RealignmentConfig
    from thinksafe.registry.sign_off import Standing

commands = typer.Typer()

Model = Annotated[str, typer.Argument(metavar="NAME", help="Registered model name.")]
Version = Annotated[str, typer.Option(metavar="N", help="Version that awaits approval.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; recorded, and shown in reports.")]
Decision = Annotated[
    str, typer.Option(metavar="DIGEST", help="The decision that you saw, as in the report; refused if it is another.")
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of a local run.")]
Artifacts = Annotated[str, typer.Option(help="Store root, where the run was not local.")]
Tracking = Annotated[
    str, typer.Option(help="MLflow server to tag; that of the run in DIR, or MLFLOW_TRACKING_URI, by default.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.registered_commands += commands.registered_commands


@commands.command()
def approve(
    model: Model, version: Version, reason: Reason, decision: Decision = "", out: Out = None, artifacts: Artifacts = "",
    tracking_uri: Tracking = "",
) -> None:
    """Approve a version that the gate passed and that awaits approval. Nothing is promoted by that.

    The approval holds for this decision only. Exits with 2 if it does not count, and then writes nothing.
    """
    found = _say("approve", model, version, reason, decision, out, artifacts, tracking_uri)
    if found.review.state != "approved":
        return
    again = "the same `thinksafe run` command again" if out else f"`thinksafe submit CONFIG --promote {version}`"
    typer.echo(f"Start {again} to promote it.")


@commands.command()
def reject(
    model: Model, version: Version, reason: Reason, decision: Decision = "", out: Out = None, artifacts: Artifacts = "",
    tracking_uri: Tracking = "",
) -> None:
    """Reject a version that awaits approval, for good: only a new decision can ask again.

    Exits with 2 if the rejection does not count, and then writes nothing.
    """
    _say("reject", model, version, reason, decision, out, artifacts, tracking_uri)


def author_of(config: RealignmentConfig) -> str:
    """Return who starts or publishes a run, for approvals by others; empty where the author's approval counts.

    Raises:
        ConfigError, StageError: nobody says who that is.
    """
    demanded = config.promotion.demanded(on_cluster=config.cluster is not None)
    if demanded is None or not demanded.approval.distinct_from_author:
        return ""
    from thinksafe.kube.identity import identity

    return identity(demanded.approval.identity or "system").who


def approved_run(root: str, model: str, version: str) -> str:
    """Return the run that made a version which enough people have approved.

    Raises:
        InputError: approvals are missing, or the version cannot be promoted by them any more.
        ConflictError: another version was promoted meanwhile.
        StoreError: the store failed, or something in it is damaged.
    """
    from thinksafe.registry.sign_off import require_open, standing
    from thinksafe.store import open_store

    found = standing(open_store(root), model, version)
    require_open(found, approved=True)
    return found.subject.run_id


def _say(
    action: Literal["approve", "reject"], model: str, version: str, reason: str, decision: str, out: Path | None,
    artifacts: str, tracking_uri: str,
) -> Standing:
    from thinksafe.cli.local import run_tracking_uri, store_of
    from thinksafe.registry.sign_off import state_opinion

    store = store_of(out, artifacts)
    found = state_opinion(store, model, version, action, reason, decision)
    subject = found.subject
    typer.echo(f"{model} version {version}, decision {subject.decision[:12]}: {found.decision.summary}")
    typer.echo(f"{found.review.state}: {found.review.words}.")
    _tag(found, tracking_uri or (run_tracking_uri(out, store) if out is not None else ""))
    return found


def _tag(found: Standing, tracking_uri: str) -> None:
    """Bring the version's tags in line, where the server can be reached: approvers need no access to it."""
    import os

    from thinksafe.errors import ThinkSafeError
    from thinksafe.registry.decision_tags import tag_approval

    registration = found.registration
    uri = tracking_uri or registration.tracking_uri
    if not uri and not os.environ.get("MLFLOW_TRACKING_URI"):
        return
    try:
        tag_approval(registration.model_copy(update={"tracking_uri": uri}), found.review)
    except ThinkSafeError as error:
        typer.echo(f"The tags in MLflow were not updated; the promotion will do it: {error.problem}", err=True)
