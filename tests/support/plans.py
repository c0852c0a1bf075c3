"""Plans with single sections, for tests of the stage commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from thinksafe.config.plan_document import PlanDocument


def write_plan(path: Path, run_id: str = "run", **sections: BaseModel | dict[str, Any]) -> Path:
    """Write a plan with these sections, and return its path."""
    plain = {
        name: section.model_dump(mode="json") if isinstance(section, BaseModel) else section
        for name, section in sections.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PlanDocument(run_id=run_id, sections=plain).model_dump_json(), "utf-8")
    return path
