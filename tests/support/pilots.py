"""Pilots as rows of samples and verdicts, and the stage diagnose on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thinksafe.config.model import DiagnoseSettings
from thinksafe.config.sections import ContextsSection, DiagnoseSection
from thinksafe.jsonl import read_record
from thinksafe.methods.thinksafe import ThinkSafe
from thinksafe.records import Check, Decision, Prompt, Sample, SamplingSettings, Verdict
from thinksafe.run.manifests import Manifest, write_chunk, write_manifest
from thinksafe.run.record import StageContext, StageResult, silent
from thinksafe.stages import diagnose
from thinksafe.store.local import LocalStore

# what a sample can be: response, verdict, refusal
ACCEPTED = ("<think>no</think>sorry", "safe", True)
UNSAFE = ("<think>ok</think>sure", "unsafe", False)
SAFE_ANSWER = ("<think>ok</think>fine", "safe", False)
UNKNOWN = ("<think>ok</think>...", "unknown", None)
CUT = ("<think>no", "safe", True)
Kind = tuple[str, str, bool | None]


def one(prompt: int | str, arm: str, kind: Kind, index: int = 0, **fields: Any) -> tuple[Sample, Verdict]:
    sample = Sample(
        id=f"p{prompt}/{arm}/{index}", index=index, arm=arm, response=kind[0], finish="stop", tokens=1,
        prompt_tokens=1, seed=0, settings=SamplingSettings(), template=fields.get("template", ""),
        prompt=Prompt(id=f"p{prompt}", prompt="a secret text", label=fields.get("label", "harmful"), source="s"),
    )
    verdict = {"sample_id": sample.id, "part": "whole", "guard": "g", "verdict": kind[1], "refusal": kind[2]}
    return sample, Verdict.model_validate(verdict)


def pilot(*groups: tuple[int, Kind, Kind]) -> list[tuple[Sample, Verdict]]:
    """Rows of (count, plain, steered) groups."""
    rows: list[tuple[Sample, Verdict]] = []
    for count, plain, steered in groups:
        for _ in range(count):
            prompt = len(rows) // 2
            rows += [one(prompt, "plain", plain), one(prompt, "steered", steered)]
    return rows


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalStore(folder / "store")
        self.calls = 0

    def __call__(
        self, rows: list[tuple[Sample, Verdict]], verdicts: int | None = None,
        contexts: ContextsSection | None = None, **settings: Any,
    ) -> StageResult:
        # keys of this call's own: rows under a known key would be those of the call before
        self.calls += 1
        samples = write_chunk(self.store, f"s{self.calls}", 0, [sample for sample, _ in rows])
        judged = write_chunk(self.store, f"v{self.calls}", 0, [verdict for _, verdict in rows][:verdicts])
        for kind, chunk in (("samples", samples), ("verdicts", judged)):
            values = {"kind": kind, "total": 1, "model": "m", "chunks": [chunk]}
            write_manifest(self.folder / f"{kind}.json", Manifest.model_validate(values))
        section = DiagnoseSection(
            alpha=0.05, seed=1, diagnose=DiagnoseSettings.model_validate(settings), arm="steered",
            rules=ThinkSafe().rules()["harmful"], reasoning="think", contexts=contexts,
        )
        context = StageContext(self.store, "run", "diagnose", "diagnose", silent)
        return diagnose.run(
            context, section, self.folder / "samples.json", self.folder / "verdicts.json",
            diagnosis_out=self.folder / "diagnosis.json", safety_context_out=self.folder / "context.json",
            passed_out=self.folder / "passed",
        )

    @property
    def decision(self) -> Decision:
        return read_record(self.folder / "diagnosis.json", Decision)

    @property
    def checks(self) -> dict[str, Check]:
        return {check.name: check for check in self.decision.checks}

    @property
    def passed(self) -> str:
        return (self.folder / "passed").read_text()
