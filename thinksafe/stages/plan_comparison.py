"""plan_comparison: config document with several methods -> the plan of all of them, model references."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from thinksafe.config import RealignmentConfig
from thinksafe.config.compared import Shared
from thinksafe.config.comparison import comparison_plan, load_comparison, shared_work
from thinksafe.config.load import canonical
from thinksafe.config.sections import TeacherSection
from thinksafe.errors import ConfigError
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.models.pins import require_compiled_cluster, require_place_for_nodes
from thinksafe.models.references import ModelReference
from thinksafe.run.details import PlanDetails
from thinksafe.run.record import StageContext, StageResult, recorded
from thinksafe.stages.plan import first_day, kfp_run, pinned, resolved_teacher, settled


def run(
    context: StageContext, config: str, overrides: list[str], shared: str,
    *, plan_out: Path, base_out: Path, champion_out: Path, registration_out: Path, job_id: str = "",
) -> StageResult:
    """Validate the configuration of a comparison and write the inputs of the other stages.

    Args:
        context: Store and run.
        config: YAML text, path or recipe name, with a list ``compare``.
        overrides: ``key=value`` texts.
        shared: What the methods share in the pipeline that runs, a JSON list of
            :class:`thinksafe.config.compared.Shared`; the pipeline has a task for each, so another configuration
            needs another pipeline.
        plan_out: The plan (:class:`thinksafe.config.plan_document.PlanDocument`), JSON.
        base_out: Reference of the student.
        champion_out: Reference of the champion, marked absent where there is none.
        registration_out: JSON ``null``: a comparison registers nothing.
        job_id: See :func:`thinksafe.stages.plan.kfp_run`.

    Raises:
        ConfigError: the configuration is wrong, or for another pipeline or cluster than this one.
        InputError: a model cannot be found or used.
    """
    with recorded(context, None) as result:
        day = first_day(context)
        result.details = PlanDetails(date=day.isoformat())
        comparison = load_comparison(config, overrides)
        loaded = comparison.base
        require_compiled_cluster(loaded)
        for method in comparison.methods.values():
            require_place_for_nodes(method)
        work = shared_work(comparison)
        if work != _compiled(shared):
            raise ConfigError(
                "The methods of the configuration are not those that this pipeline was compiled for "
                f"({', '.join(one.method for one in _compiled(shared))}).",
                "Compile or publish the pipeline compare with this configuration.",
            )
        student, digest = pinned(loaded.student, "student")
        base = ModelReference(role="base", student=student, base_digest=digest)
        teachers: dict[str, TeacherSection | None] = {}

        def resolve(of: RealignmentConfig) -> TeacherSection | None:
            teacher = of.method.other()
            key = teacher.model_dump_json() if teacher is not None else ""
            if key not in teachers:
                teachers[key] = resolved_teacher(of)
            return teachers[key]

        document = comparison_plan(context.run_id, comparison, day, resolve)
        write_json(plan_out, document)
        write_atomic(registration_out, b"null\n")
        champion, details = settled(context, loaded, base, base_out, champion_out, f"compare {loaded.name}")
        result.outputs = {"base": base.digest, "champion": "" if champion.absent else champion.digest}
        result.details = details.model_copy(
            update={
                "date": day.isoformat(), "kfp_run": kfp_run(job_id), "sections": document.sections, "shared": work,
                "methods": {name: canonical(of) for name, of in comparison.methods.items()},
            }
        )
    return result


def _compiled(shared: str) -> tuple[Shared, ...]:
    """Return what the methods share in the pipeline. Raises ConfigError."""
    try:
        return tuple(Shared.model_validate(one) for one in json.loads(shared))
    except (ValueError, TypeError, ValidationError) as error:
        raise ConfigError("--shared is not what a pipeline passes.", "Compile the pipeline again.") from error
