"""report: stage records -> report page, published files, MLflow runs. The exit task: it always runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from thinksafe.config.model import RegistrySettings
from thinksafe.credentials import scrubbed
from thinksafe.digests import digest_bytes
from thinksafe.errors import InputError
from thinksafe.jsonl import write_atomic
from thinksafe.report.summary import RunSummary, published, summarise
from thinksafe.run.details import PipelineStatus, PlanDetails, ReportDetails
from thinksafe.run.record import (
    DELETE_RECORD,
    START,
    StageContext,
    StageRecord,
    StageResult,
    find_record,
    list_records,
    recorded,
)
from thinksafe.store import Store

if TYPE_CHECKING:
    from thinksafe.audit.records import AuditScores
    from thinksafe.report.samples import Browser

PAGE, CARD, MATERIALS = "report.html", "README.md", "bom.cdx.json"


def run(context: StageContext, status: str = "", *, report_out: Path, tracked: bool = True) -> StageResult:
    """Write the page, publish it with the run's other files under ``reports/<run id>/``, then bring MLflow in line.

    The other files are decision, metrics and provenance, and for a candidate its model card and bill of materials.

    The page comes first and stays even if a later step fails. Without a plan record the MLflow server is unknown, and
    that step is skipped. The verdict is the run's outcome.

    Args:
        context: The run; its store holds the records and gets the published files.
        status: KFP's PipelineTaskFinalStatus as JSON; empty outside KFP, and then that of an earlier report counts.
        report_out: Where the page is written.
        tracked: Update MLflow; if off, no server needs to be named.

    Raises:
        InputError: a stage record is malformed (the page names it).
        StageError: MLflow or the store failed, after the page was written.
    """
    from thinksafe.report import draw_pictures, render_page
    from thinksafe.report.card import bill_of_materials, model_card
    from thinksafe.report.svg import standalone

    with recorded(context, None) as result:
        read = list_records(context.store, context.run_id)
        records = _of_this_attempt(read.found)
        final = parse_status(status) if status else _known_status(context)
        result.details = details = ReportDetails(status=final.model_copy(update={"message": scrubbed(final.message)}))
        summary = summarise(records, run_id=context.run_id, status=final, problems=read.problems)
        pictures = draw_pictures(summary)
        page = render_page(summary, _samples(context.store, records, summary), _audits(context), pictures).encode()
        write_atomic(report_out, page)
        files = {PAGE: page} | {name: _document(value) for name, value in published(summary).items()}
        if summary.provenance.trained_digest and summary.provenance.config and not summary.is_evaluation:
            files |= {CARD: model_card(summary).encode(), MATERIALS: bill_of_materials(summary).encode()}
        for name, data in files.items():
            context.store.put(f"reports/{context.run_id}/{name}", data)
        result.verdict = summary.outcome
        result.outputs = {name: digest_bytes(data) for name, data in files.items()}
        result.details = details = details.model_copy(update={"report": f"reports/{context.run_id}/{PAGE}"})
        plots = {f"{name}.svg": standalone(picture) for name, picture in pictures.items() if picture is not None}
        if tracked:
            parent = _track(context, summary, records, files, plots)
            result.details = details.model_copy(update={"mlflow_run": parent})
        if read.problems:
            raise InputError(f"{read.problems[0]}.", DELETE_RECORD)
    return result


def _of_this_attempt(found: Mapping[str, StageRecord]) -> dict[str, StageRecord]:
    """Return the records of a run without its reports, and without a pod that did not start in an earlier attempt.

    Nothing starts after a run was ended for such a pod, unless the run was retried.
    """
    records = {task: record for task, record in found.items() if record.stage != "report"}
    start = records.get(START)
    if start is not None and any(record.started > start.started for record in records.values()):
        del records[START]
    return records


def _samples(store: Store, records: Mapping[str, StageRecord], summary: RunSummary) -> Browser:
    from thinksafe.report.samples import browse

    benchmarks = summary.setting("evaluation", "benchmarks", default=[])
    part = summary.setting("gate", "harm", "part", default="whole")
    return browse(
        store, records, part, reveal=summary.setting("report", "reveal_harmful") is True,
        benchmarks=[str(item.get("name", "")) for item in benchmarks if isinstance(item, dict)],
    )


def _audits(context: StageContext) -> list[AuditScores]:
    from thinksafe.audit.kept import kept

    try:
        return kept(context.store, context.run_id)
    except InputError:  # an object that somebody else put there must not cost the run its report
        return []


def _known_status(context: StageContext) -> PipelineStatus:
    """Return how the run ended, as passed to its first report."""
    record = find_record(context.store, context.run_id, context.task)
    return record.read(ReportDetails).status if record is not None else PipelineStatus()


def parse_status(status: str) -> PipelineStatus:
    """Return KFP's final status; an unreadable one is unknown, because the report must not fail because of it."""
    try:
        value: Any = json.loads(status) if status else {}
    except (json.JSONDecodeError, RecursionError):
        return PipelineStatus()
    if not isinstance(value, Mapping):
        return PipelineStatus()
    error = value.get("error")
    message = error.get("message") if isinstance(error, Mapping) else value.get("error_message")
    return PipelineStatus(state=str(value.get("state") or "").upper(), message=str(message or ""))


def _document(value: Any) -> bytes:
    text: str = value.model_dump_json(indent=2)
    return text.encode() + b"\n"


def _track(
    context: StageContext, summary: RunSummary, records: Mapping[str, StageRecord], files: Mapping[str, bytes],
    plots: Mapping[str, bytes],
) -> str:
    """Write the MLflow runs with files and plots attached; return the id of the parent, empty without a plan."""
    if "registry" not in summary.provenance.config:
        return ""
    import tempfile

    from thinksafe.registry.registration import attach_card
    from thinksafe.registry.tracking import write_runs

    try:  # not from the summary, whose URIs are blanked
        registry = RegistrySettings.model_validate(records["plan"].read(PlanDetails).registry)
    except ValidationError as error:
        raise InputError(
            "The plan record of this run holds no valid registry settings.", "Start a new run with this version."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        for name, data in {**files, **plots}.items():
            (Path(folder) / name).write_bytes(data)
        if CARD in files and summary.registration:
            attach_card(registry, str(summary.registration.get("model_id", "")), Path(folder) / CARD)
        return write_runs(
            records, registry, [Path(folder) / name for name in files], run_id=context.run_id,
            name=summary.provenance.recipe, failed=summary.outcome == "failed",
            plots=[Path(folder) / name for name in plots],
        )
