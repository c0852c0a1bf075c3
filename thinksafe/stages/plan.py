"""plan: config document -> the plan of the run, model references, MLflow parent run."""

from __future__ import annotations

import datetime
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from thinksafe import __version__
from thinksafe.config import RealignmentConfig, load_config, sections_of
from thinksafe.config.load import canonical
from thinksafe.config.plan_document import plan_document
from thinksafe.config.policy import policy_digests
from thinksafe.config.sections import TeacherSection
from thinksafe.config.suite import SuiteConfig
from thinksafe.digests import digest_json, library_versions
from thinksafe.errors import ConfigError, ThinkSafeError
from thinksafe.jsonl import write_json
from thinksafe.models.pins import require_compiled_cluster, require_place_for_nodes
from thinksafe.models.references import ModelReference
from thinksafe.run.details import EstimatedHours, PlanDetails
from thinksafe.run.record import StageContext, StageResult, find_record, recorded
from thinksafe.settings import StudentSettings

POLICY = "policy of guard."
"""Outputs that are digests of policies begin so."""
LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "mlflow", "kfp", "pydantic")


def run(
    context: StageContext, config: str, overrides: list[str],
    *, plan_out: Path, base_out: Path, champion_out: Path, rounds: int = 1, job_id: str = "", author: str = "",
) -> StageResult:
    """Validate the configuration and write the inputs of the other stages.

    Args:
        context: Store and run.
        config: YAML text, path or recipe name.
        overrides: ``key=value`` texts.
        plan_out: The plan (:class:`thinksafe.config.plan_document.PlanDocument`), JSON.
        base_out: Reference of the student.
        champion_out: Reference of the champion, marked absent where there is none.
        rounds: Rounds of sampling and training that the pipeline which runs has tasks for.
        job_id: What KFP calls the run (:func:`kfp_run`).
        author: Who published, submitted or started the run.

    Raises:
        ConfigError: the configuration is wrong, or for another cluster or other rounds than the pipeline was compiled
            for, or it wants approvals by others than its author and nobody says who that is.
        InputError: the student cannot be found or used, or a guard's policy cannot be read.
    """
    with recorded(context, None) as result:
        day = first_day(context)
        result.details = PlanDetails(date=day.isoformat())
        loaded = load_config(config, overrides)
        require_compiled_cluster(loaded)
        require_place_for_nodes(loaded)
        if loaded.sampling.rounds != rounds:
            raise ConfigError(
                f"sampling.rounds is {loaded.sampling.rounds}, and this pipeline was compiled for {rounds}.",
                "Compile or publish the pipeline realign with this configuration.",
            )
        wanted = loaded.promotion.approval
        if wanted.required and wanted.distinct_from_author and not author:
            raise ConfigError(
                "promotion.approval.distinct_from_author is on, and nobody says who the author of this run is.",
                "Start it with `thinksafe submit`, or by a version that `thinksafe publish` made.",
            )
        student, digest = pinned(loaded.student, "student")
        base = ModelReference(role="base", student=student, base_digest=digest)
        document = plan_document(context.run_id, sections_of(loaded, day, resolved_teacher(loaded)))
        write_json(plan_out, document)
        champion, details = settled(context, loaded, base, base_out, champion_out, loaded.name)
        result.outputs = {
            "base": base.digest, "champion": "" if champion.absent else champion.digest,
            **{f"{POLICY}{use}": digest for use, digest in policy_digests(loaded.guard).items()},
        }
        result.details = details.model_copy(
            update={
                "date": day.isoformat(), "kfp_run": kfp_run(job_id), "sections": document.sections,
                "estimate": estimated(context, loaded),
                **({"author": author} if wanted.required else {}),
            }
        )
    return result


def estimated(context: StageContext, config: RealignmentConfig | SuiteConfig) -> EstimatedHours | None:
    """Return what the run is estimated to take, by earlier runs in its store; None if it cannot be told.

    The report compares it with what the run takes. No run fails for its estimate.
    """
    from thinksafe.estimating.build import estimate
    from thinksafe.estimating.known import known_in
    from thinksafe.models.shapes import Shapes

    with suppress(ThinkSafeError):
        known = known_in(context.store, config, run_id=context.run_id, here=True)
        return estimate(config, known, Shapes(hub=False)).note
    return None


def settled(
    context: StageContext, config: RealignmentConfig, base: ModelReference, base_out: Path, champion_out: Path,
    name: str,
) -> tuple[ModelReference, PlanDetails]:
    """Write the references of student and champion, ensure the run in MLflow, and return the champion and details.

    Args:
        context: Store and run.
        config: The configuration.
        base: Reference of the student.
        base_out: Where it is written.
        champion_out: The same for the champion, marked absent where there is none.
        name: Of the run in MLflow.
    """
    from thinksafe.registry.tracking import ensure_parent_run

    champion, generation = champion_of(context, config.registry.model, base)
    write_json(base_out, base)
    write_json(champion_out, champion)
    document: dict[str, Any] = canonical(config)
    return champion, PlanDetails(
        config=document, config_digest=digest_json(document), base=base.model_dump(mode="json"),
        champion=champion.model_dump(mode="json"), champion_generation=generation,
        mlflow_run=ensure_parent_run(config.registry, context.run_id, name), code=code_versions(),
    )


def pinned(student: StudentSettings, key: str) -> tuple[StudentSettings, str]:
    """Return the settings of a model, pinned to the current commit, and the model's digest."""
    from thinksafe.models.loading import resolve_student

    found = resolve_student(student, key)
    return student.model_copy(update={"revision": found.revision}), found.digest


def resolved_teacher(config: RealignmentConfig) -> TeacherSection | None:
    """Return the method's teacher, pinned, with its digest; None if the method has none. Raises InputError."""
    teacher = config.method.other()
    if teacher is None:
        return None
    found, digest = pinned(teacher, "method.teacher")
    return TeacherSection(student=found, digest=digest)


def champion_of(context: StageContext, model: str, base: ModelReference) -> tuple[ModelReference, int | None]:
    """Return the champion of a run, marked absent where there is none, and its generation."""
    from thinksafe.registry.ledger import champion_for_run

    entry = champion_for_run(context.store, model, context.run_id)
    if entry is None:
        return base.model_copy(update={"role": "champion", "absent": True}), None
    return entry.target.model_copy(update={"role": "champion"}), entry.generation


def code_versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the libraries under it."""
    return {"thinksafe": __version__, "python": platform.python_version(), **library_versions(*LIBRARIES)}


def kfp_run(job_id: str) -> str:
    """Return the id of the run in Kubeflow Pipelines; empty for a local run, whose job id is not a UUID."""
    return job_id if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job_id) else ""


def first_day(context: StageContext) -> datetime.date:
    """Return the day (UTC) of the run's first plan: a restarted run decides by the same day."""
    record = find_record(context.store, context.run_id, context.task)
    if record is not None:
        with suppress(ValueError):  # from another version, which recorded no day
            return datetime.date.fromisoformat(record.read(PlanDetails).date)
    return datetime.datetime.now(datetime.UTC).date()

