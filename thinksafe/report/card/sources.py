"""What a run was made of, by name: base, data sets and guards, as its configuration and records say."""

from __future__ import annotations

from typing import Any, NamedTuple

from thinksafe.benchmarks.definitions import definition, definition_names
from thinksafe.models.hub import is_commit
from thinksafe.report.summary import RunSummary
from thinksafe.text import label

LIMIT = 200
"""Characters of a name."""


def named(value: Any) -> str:
    """Return text of a record as one short line without controls."""
    return label(str(value or ""), LIMIT)


class Source(NamedTuple):
    """A data set or a model."""

    use: str
    name: str
    """As the run calls it."""
    origin: str
    """Hub id, file or scheme; empty if unknown."""
    revision: str
    """Commit, or the version of a definition; empty if there is none."""
    licence: str
    """As stated upstream; empty if unknown."""
    digest: str
    """Digest of what the run used; empty if it was not recorded."""
    rows: int
    """Prompts; 0 for a model."""
    hub: bool
    """``origin`` is an id on the Hugging Face Hub."""


def base(summary: RunSummary) -> Source:
    """Return the student before training."""
    settings = dict(summary.provenance.base.get("student") or {})
    return _model("base", settings, named(summary.provenance.base.get("base_digest")))


def teacher(summary: RunSummary) -> Source | None:
    """Return the model that wrote the training responses; None if the student did."""
    found = summary.provenance.teacher
    return _model("teacher", dict(found.get("student") or {}), named(found.get("digest"))) if found else None


def guards(summary: RunSummary) -> list[Source]:
    """Return the guards that judged, by use."""
    found = []
    for use, guard in summary.provenance.guards.items():
        settings = summary.setting("guard", use, default=None)
        settings = dict(settings.get("guard", settings)) if isinstance(settings, dict) else {}
        found.append(_model(use, settings, named(guard.get("digest")))._replace(name=named(guard.get("name"))))
    return found


def data_sets(summary: RunSummary) -> list[Source]:
    """Return the prompt sets of training and evaluation."""
    written: dict[tuple[str, str], dict[str, Any]] = {}
    for kind in ("harmful", "benign"):
        for item in _rows(summary.setting("data", kind, default=[])):
            written["training", str(item.get("name"))] = item
    for item in _rows(summary.setting("evaluation", "benchmarks", default=[])):
        written["evaluation", str(item.get("name"))] = item
    found = []
    for row in summary.prompt_sets:
        item = written.get((row.use, row.name), {})
        prompts = dict(item.get("prompts") or {})
        use, name, digest = str(item.get("use") or ""), named(row.name), named(row.digest)
        if use in definition_names():
            known = definition(use)
            of = (known.repo or known.about, known.revision or f"version {known.version}", known.licence)
            found.append(Source(row.use, name, *of, digest, row.rows, bool(known.repo)))
            continue
        origin = next((named(prompts[key]) for key in ("repo", "path") if prompts.get(key)), "")
        if prompts.get("source") == "micro":
            origin = named(f"micro://{prompts.get('kind', '')}/{prompts.get('split', '')}")
        revision = named(prompts.get("revision"))
        found.append(Source(row.use, name, origin, revision, "", digest, row.rows, bool(prompts.get("repo"))))
    return found


def _model(use: str, settings: dict[str, Any], digest: str) -> Source:
    name, revision = named(settings.get("model")), named(settings.get("revision"))
    return Source(use, name, name, revision, "", digest, 0, is_commit(revision))


def _rows(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
