"""plan: config document -> one canonical section per stage, shards, run id, model references, MLflow parent run."""

from __future__ import annotations

import datetime
import json
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from thinksafe import __version__
from thinksafe.config import load_config, sections_of
from thinksafe.config.load import canonical
from thinksafe.config.placeholders import escape_json
from thinksafe.digests import canonical_json, digest_json, library_versions
from thinksafe.errors import ConfigError
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.models.pins import require_compiled_cluster, require_place_for_nodes
from thinksafe.models.references import ModelReference
from thinksafe.run.record import StageContext, StageResult, find_record, recorded
from thinksafe.settings import Section

LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "mlflow", "kfp", "pydantic")


def run(
    context: StageContext, config: str, overrides: list[str],
    *, outputs: dict[str, Path], base_out: Path, champion_out: Path, job_id: str = "",
) -> StageResult:
    """Validate the configuration and write what the other stages take.

    Args:
        context: Store and run.
        config: YAML text, path or recipe name.
        overrides: ``key=value`` texts.
        outputs: File for each output by name: ``run_id``, ``shards_<use>`` (JSON list of shard ids as strings) and
            the fields of :class:`thinksafe.config.sections.Sections` (canonical JSON).
        base_out: Reference of the student.
        champion_out: Reference of the champion, marked absent where there is none.
        job_id: What KFP calls the run (:func:`kfp_run`).

    Raises:
        ConfigError: the configuration is wrong, an output name is unknown, or the configuration is for another cluster
            than the pipeline was compiled for.
        InputError: the student cannot be found or used.
    """
    from thinksafe.models.loading import resolve_student
    from thinksafe.registry.ledger import champion_for_run
    from thinksafe.registry.tracking import ensure_parent_run

    with recorded(context, None) as result:
        day = first_day(context)
        result.details = {"date": day.isoformat()}
        loaded = load_config(config, overrides)
        require_compiled_cluster(loaded)
        require_place_for_nodes(loaded)
        sections = sections_of(loaded, day)
        student = resolve_student(loaded.student)
        pinned = loaded.student.model_copy(update={"revision": student.revision})
        base = ModelReference(role="base", student=pinned, base_digest=student.digest)
        entry = champion_for_run(context.store, loaded.registry.model, context.run_id)
        champion = (
            entry.target.model_copy(update={"role": "champion"})
            if entry is not None
            else base.model_copy(update={"role": "champion", "absent": True})
        )
        values = write_outputs(context.run_id, sections, outputs)
        write_json(base_out, base)
        write_json(champion_out, champion)
        mlflow_run = ensure_parent_run(loaded.registry, context.run_id, loaded.name)
        document: dict[str, Any] = canonical(loaded)
        result.outputs = {"base": base.digest, "champion": "" if champion.absent else champion.digest}
        result.details |= {
            "config": document,
            "config_digest": digest_json(document),
            "base": base.model_dump(mode="json"),
            "champion": champion.model_dump(mode="json"),
            "champion_generation": entry.generation if entry is not None else None,
            "mlflow_run": mlflow_run,
            "kfp_run": kfp_run(job_id),
            "code": {"thinksafe": __version__, "python": platform.python_version(), **library_versions(*LIBRARIES)},
            "sections": {name: json.loads(values[name]) for name in values if name != "run_id"},
        }
    return result


def kfp_run(job_id: str) -> str:
    """Return the id of the run in Kubeflow Pipelines; empty for a local run, whose job id is no UUID."""
    return job_id if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job_id) else ""


def first_day(context: StageContext) -> datetime.date:
    """Return the day (UTC) of the run's first plan: a run that is started again decides by the same day."""
    record = find_record(context.store, context.run_id, context.task)
    if record is not None:
        with suppress(KeyError, TypeError, ValueError):  # of another version, which fixed none
            return datetime.date.fromisoformat(record.details["date"])
    return datetime.datetime.now(datetime.UTC).date()


def write_outputs(run_id: str, sections: Section, outputs: dict[str, Path]) -> dict[str, str]:
    """Write the planned outputs to their files and return all of them by name.

    Args:
        run_id: Becomes the output ``run_id``.
        sections: One field a stage; of fields that begin with ``shards_`` the output is a JSON list of shard ids.
        outputs: File of each output that is wanted.

    Raises:
        ConfigError: an output has an unknown name.
    """
    values: dict[str, str] = {"run_id": run_id}
    for name, section in sections:
        if name.startswith("shards_"):
            values[name] = json.dumps([str(shard) for shard in range(section)])
        else:
            values[name] = escape_json(canonical_json(section))  # it goes on as a parameter
    if unknown := sorted(set(outputs) - set(values)):
        raise ConfigError(f"plan has no output {unknown[0]!r}.", f"Known outputs: {', '.join(sorted(values))}.")
    for name, path in outputs.items():
        write_atomic(path, values[name].encode())
    return values
