"""report: stage records -> report page, published files, MLflow runs. The exit task: it always runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from thinksafe.config.model import RegistrySettings
from thinksafe.credentials import scrubbed
from thinksafe.digests import digest_bytes
from thinksafe.errors import InputError
from thinksafe.jsonl import write_atomic
from thinksafe.report.comparison.build import compared_runs, is_comparison, summarise_comparison
from thinksafe.report.summary import RunSummary, published, summarise
from thinksafe.run.details import PipelineStatus, PlanDetails, ReportDetails
from thinksafe.run.outcomes import read_outcomes
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
    from markupsafe import Markup

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
    from thinksafe.report.svg import standalone

    with recorded(context, None) as result:
        read = list_records(context.store, context.run_id)
        records = _of_this_attempt(read.found)
        final = parse_status(status) if status else _known_status(context)
        result.details = details = ReportDetails(status=final.model_copy(update={"message": scrubbed(final.message)}))
        made = (_comparison if is_comparison(records) else _one_run)(context, records, final, read.problems)
        page = made.page.encode()
        write_atomic(report_out, page)
        files = {PAGE: page} | dict(made.documents())
        for name, data in files.items():
            context.store.put(f"reports/{context.run_id}/{name}", data)
        result.verdict = made.outcome
        result.outputs = {name: digest_bytes(data) for name, data in files.items()}
        result.details = details = details.model_copy(update={"report": f"reports/{context.run_id}/{PAGE}"})
        plots = {f"{name}.svg": standalone(picture) for name, picture in made.pictures.items() if picture is not None}
        if tracked and (registry := _registry(records)) is not None:
            parent = _attached(files, plots, partial(made.track, registry))
            result.details = details.model_copy(update={"mlflow_run": parent})
        if read.problems:
            raise InputError(f"{read.problems[0]}.", DELETE_RECORD)
    return result


class _Made(NamedTuple):
    """What a report is made of, for a run of one method and for a comparison alike."""

    page: str
    documents: Callable[[], Mapping[str, bytes]]
    """Makes the published files besides the page, by name; called once the page is written."""
    pictures: Mapping[str, Markup | None]
    outcome: str
    track: Callable[[RegistrySettings, list[Path], list[Path]], str]
    """Writes the MLflow runs with files and plots attached, and returns the id of the parent."""


def _one_run(
    context: StageContext, records: Mapping[str, StageRecord], status: PipelineStatus, problems: Sequence[str]
) -> _Made:
    from thinksafe.report import draw_pictures, render_page
    from thinksafe.report.card import bill_of_materials, model_card

    summary = summarise(records, run_id=context.run_id, status=status, problems=problems)
    pictures = draw_pictures(summary)
    page = render_page(summary, _samples(context.store, records, summary), _audits(context), pictures)

    def documents() -> Mapping[str, bytes]:
        files = {name: _document(value) for name, value in published(summary).items()}
        if summary.provenance.trained_digest and summary.provenance.config and not summary.is_evaluation:
            files |= {CARD: model_card(summary).encode(), MATERIALS: bill_of_materials(summary).encode()}
        return files

    def track(registry: RegistrySettings, files: list[Path], plots: list[Path]) -> str:
        from thinksafe.registry.registration import attach_card
        from thinksafe.registry.tracking import write_runs

        card = next((path for path in files if path.name == CARD), None)
        if card is not None and summary.registration:
            attach_card(registry, str(summary.registration.get("model_id", "")), card)
        return write_runs(
            records, registry, files, run_id=context.run_id, name=summary.provenance.recipe,
            failed=summary.outcome == "failed", plots=plots,
        )

    return _Made(page, documents, pictures, summary.outcome, track)


def _comparison(
    context: StageContext, records: Mapping[str, StageRecord], status: PipelineStatus, problems: Sequence[str]
) -> _Made:
    from thinksafe.report.comparison.charts import draw_comparison
    from thinksafe.report.comparison.page import render_comparison

    summary = summarise_comparison(
        records, partial(read_outcomes, context.store), run_id=context.run_id, status=status, problems=problems
    )
    pictures = draw_comparison(summary)

    def track(registry: RegistrySettings, files: list[Path], plots: list[Path]) -> str:
        from thinksafe.registry.tracking_comparison import write_comparison

        return write_comparison(compared_runs(records, summary), registry, files, plots)

    def documents() -> Mapping[str, bytes]:
        return {"comparison.json": _document(summary.result), "costs.json": _document(summary.costs)}

    return _Made(render_comparison(summary, pictures), documents, pictures, summary.result.outcome, track)


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


def _registry(records: Mapping[str, StageRecord]) -> RegistrySettings | None:
    """Return the registry of a run, None if its configuration has none or is unknown. Raises InputError."""
    found = records["plan"].read(PlanDetails).registry if "plan" in records else {}
    if not found:
        return None
    try:  # not from the summary, whose URIs are blanked
        return RegistrySettings.model_validate(found)
    except ValidationError as error:
        raise InputError(
            "The plan record of this run holds no valid registry settings.", "Start a new run with this version."
        ) from error


def _attached(
    files: Mapping[str, bytes], plots: Mapping[str, bytes], track: Callable[[list[Path], list[Path]], str]
) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, data in {**files, **plots}.items():
            (Path(folder) / name).write_bytes(data)
        return track([Path(folder) / name for name in files], [Path(folder) / name for name in plots])
