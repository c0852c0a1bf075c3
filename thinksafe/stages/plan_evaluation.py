"""plan_evaluation: suite and model name -> the plan of the evaluation, model reference.

A schedule may evaluate the champion before there is one; such a run ends here, with nothing to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thinksafe.config import load_suite, suite_sections
from thinksafe.config.load import canonical
from thinksafe.config.plan_document import plan_document
from thinksafe.digests import digest_json
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.models.pins import require_compiled_cluster
from thinksafe.run.details import PlanDetails
from thinksafe.run.manifests import write_manifest
from thinksafe.run.record import StageContext, StageResult, recorded
from thinksafe.stages.due import NOTHING
from thinksafe.stages.plan import code_versions, estimated, first_day, kfp_run


def run(
    context: StageContext, suite: str, overrides: list[str], model: str, *, fresh: bool, plan_out: Path,
    model_out: Path, previous_out: Path, passed_out: Path, if_champion: bool = False, job_id: str = "",
) -> StageResult:
    """Validate the suite, find the model and write the inputs of the other stages.

    Args:
        context: Store and run.
        suite: YAML text, path or recipe name.
        overrides: ``key=value`` texts.
        model: See :func:`thinksafe.registry.versions.resolve_model`.
        fresh: Draw new samples in this run. Otherwise those of an earlier evaluation with the same model, suite and
            seed are reused, which tests whether guard and graders still give the same results.
        plan_out: The plan (:class:`thinksafe.config.plan_document.PlanDocument`), JSON.
        model_out: Reference of the model; JSON ``null`` where there is nothing to do.
        previous_out: Manifest of the samples of the model's last evaluation, to be measured again with what measures
            now (:func:`thinksafe.registry.evaluations.samples_before`); absent where there are none.
        passed_out: Where it is written whether the run goes on, ``true`` or ``false``.
        if_champion: If the champion is asked for and nothing has been promoted yet, do nothing instead of failing.
        job_id: See :func:`thinksafe.stages.plan.kfp_run`.

    Raises:
        ConfigError: the suite is wrong, or no model is named.
        InputError: there is no such model, or it cannot be used.
        StageError: MLflow failed.
    """
    from thinksafe.registry.evaluations import samples_before
    from thinksafe.registry.tracking import ensure_parent_run
    from thinksafe.registry.versions import has_champion, resolve_model

    with recorded(context, None) as result:
        day = first_day(context)
        result.details = PlanDetails(date=day.isoformat())
        loaded = load_suite(suite, overrides)
        require_compiled_cluster(loaded)
        goes_on = not if_champion or has_champion(model, loaded, context.store)
        reference = resolve_model(model, loaded, context.store) if goes_on else None
        student = reference.student if reference is not None else loaded.student
        reasoning = student.reasoning if student is not None else "think"
        sections = suite_sections(loaded, reasoning, context.run_id if fresh else "", day)
        document = plan_document(context.run_id, sections)
        write_json(plan_out, document)
        if reference is not None:
            write_json(model_out, reference)
            previous = samples_before(context.store, reference, sections.metrics.suite, context.run_id)
            write_manifest(previous_out, previous)
        else:
            write_atomic(model_out, b"null\n")
            write_atomic(previous_out, b"null\n")
        write_atomic(passed_out, b"true" if goes_on else b"false")
        result.verdict = "" if goes_on else NOTHING
        config_document: dict[str, Any] = canonical(loaded)
        mlflow_run = ""
        if loaded.registry is not None:
            mlflow_run = ensure_parent_run(loaded.registry, context.run_id, f"evaluate {loaded.name}")
        result.outputs = {"model": reference.digest} if reference is not None else {}
        result.details = PlanDetails(
            date=day.isoformat(), config=config_document, config_digest=digest_json(config_document),
            model=reference.model_dump(mode="json") if reference is not None else None,
            model_name=model or (student.model if student is not None else ""),
            fresh=fresh, if_champion=if_champion,
            mlflow_run=mlflow_run, kfp_run=kfp_run(job_id), code=code_versions(), sections=document.sections,
            estimate=estimated(context, loaded),
        )
    return result
