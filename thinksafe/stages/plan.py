"""plan: config document -> one canonical section per stage, shards, run id, model references, MLflow parent run."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from thinksafe import __version__
from thinksafe.config import load_config, sections_of
from thinksafe.config.load import canonical
from thinksafe.digests import canonical_json, digest_json
from thinksafe.errors import ConfigError
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.models import ModelReference
from thinksafe.stages.record import StageContext, StageResult, recorded

LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "mlflow", "kfp", "pydantic")


def run(
    context: StageContext, config: str, overrides: list[str],
    *, outputs: dict[str, Path], base_out: Path, champion_out: Path,
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

    Raises:
        ConfigError: the configuration is wrong, or an output name is unknown.
        InputError: the student cannot be found or used.
    """
    from thinksafe.ledger import champion_for_run
    from thinksafe.loading import resolve_student
    from thinksafe.tracking import ensure_parent_run

    with recorded(context, None) as result:
        loaded = load_config(config, overrides)
        sections = sections_of(loaded)
        student = resolve_student(loaded.student)
        pinned = loaded.student.model_copy(update={"revision": student.revision})
        base = ModelReference(role="base", student=pinned, base_digest=student.digest)
        entry = champion_for_run(context.store, loaded.registry.model, context.run_id)
        champion = (
            entry.target.model_copy(update={"role": "champion"})
            if entry is not None
            else base.model_copy(update={"role": "champion", "absent": True})
        )
        values: dict[str, str] = {"run_id": context.run_id}
        for name, section in sections:
            if name.startswith("shards_"):
                values[name] = json.dumps([str(shard) for shard in range(section)])
            else:
                values[name] = canonical_json(section)
        if unknown := sorted(set(outputs) - set(values)):
            raise ConfigError(f"plan has no output {unknown[0]!r}.", f"Known outputs: {', '.join(sorted(values))}.")
        for name, path in outputs.items():
            write_atomic(path, values[name].encode())
        write_json(base_out, base)
        write_json(champion_out, champion)
        mlflow_run = ensure_parent_run(loaded.registry, context.run_id, loaded.name)
        document: dict[str, Any] = canonical(loaded)
        result.outputs = {"base": base.digest, "champion": "" if champion.absent else champion.digest}
        result.details = {
            "config": document,
            "config_digest": digest_json(document),
            "base": base.model_dump(mode="json"),
            "champion": champion.model_dump(mode="json"),
            "champion_generation": entry.generation if entry is not None else None,
            "mlflow_run": mlflow_run,
            "code": {"thinksafe": __version__, "python": platform.python_version(), **_versions()},
            "sections": {name: json.loads(values[name]) for name in values if name != "run_id"},
        }
    return result


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
