"""plan_evaluation: suite and model name -> one canonical section per stage, shards, run id, model reference."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from thinksafe import __version__
from thinksafe.config import load_suite, suite_sections
from thinksafe.config.load import canonical
from thinksafe.digests import digest_json, library_versions
from thinksafe.jsonl import write_json
from thinksafe.pins import require_compiled_cluster
from thinksafe.stages.plan import LIBRARIES, first_day, kfp_run, write_outputs
from thinksafe.stages.record import StageContext, StageResult, recorded


def run(
    context: StageContext, suite: str, overrides: list[str], model: str, *, fresh: bool, outputs: dict[str, Path],
    model_out: Path, job_id: str = "",
) -> StageResult:
    """Validate the suite, find the model and write what the other stages take.

    Args:
        context: Store and run.
        suite: YAML text, path or recipe name.
        overrides: ``key=value`` texts.
        model: See :func:`thinksafe.versions.resolve_model`.
        fresh: Draw new samples in this run. Otherwise those of an earlier evaluation with the same model, suite and
            seed are used again, which asks whether guard and graders still say the same.
        outputs: File for each output by name: ``run_id``, ``shards_evaluation`` (JSON list of shard ids as strings)
            and the fields of :class:`thinksafe.config.suite_sections.SuiteSections` (canonical JSON).
        model_out: Reference of the model.
        job_id: See :func:`thinksafe.stages.plan.kfp_run`.

    Raises:
        ConfigError: the suite is wrong, an output name is unknown, or no model is named.
        InputError: there is no such model, or it cannot be used.
        StageError: MLflow failed.
    """
    from thinksafe.tracking import ensure_parent_run
    from thinksafe.versions import resolve_model

    with recorded(context, None) as result:
        day = first_day(context)
        result.details = {"date": day.isoformat()}
        loaded = load_suite(suite, overrides)
        require_compiled_cluster(loaded)
        reference = resolve_model(model, loaded, context.store)
        sections = suite_sections(loaded, reference.student.reasoning, context.run_id if fresh else "", day)
        values = write_outputs(context.run_id, sections, outputs)
        write_json(model_out, reference)
        document: dict[str, Any] = canonical(loaded)
        mlflow_run = ""
        if loaded.registry is not None:
            mlflow_run = ensure_parent_run(loaded.registry, context.run_id, f"evaluate {loaded.name}")
        result.outputs = {"model": reference.digest}
        result.details |= {
            "config": document,
            "config_digest": digest_json(document),
            "model": reference.model_dump(mode="json"),
            "model_name": model or reference.student.model,
            "fresh": fresh,
            "mlflow_run": mlflow_run,
            "kfp_run": kfp_run(job_id),
            "code": {"thinksafe": __version__, "python": platform.python_version(), **library_versions(*LIBRARIES)},
            "sections": {name: json.loads(value) for name, value in values.items() if name != "run_id"},
        }
    return result
