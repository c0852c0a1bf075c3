"""Runs whose candidates need approval: registered, with the records that sign-off reads, without training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from registry_runs import PASSED, Run, World

from thinksafe.config.promotion import PromotionSettings
from thinksafe.config.sections import PromoteSection
from thinksafe.jsonl import read_record
from thinksafe.kube.identity import Identity
from thinksafe.models.references import ModelReference
from thinksafe.records import Decision
from thinksafe.registry import sign_off
from thinksafe.registry.registration import Registration
from thinksafe.registry.sign_off import Standing
from thinksafe.run.details import DecisionDetails, Details, PlanDetails, RegisterDetails
from thinksafe.run.record import StageRecord, StageResult, write_stage_record
from thinksafe.stages import promote

API = "https://cluster.example:6443"


def demand(**approval: Any) -> PromotionSettings:
    """Return settings that demand one approval by ann, bob or cid, confirmed by nobody; ``approval`` changes them."""
    wanted = {"required": 1, "by": ["ann", "bob", "cid"], **approval}
    found = PromotionSettings.model_validate({"approval": wanted}).demanded(on_cluster=False)
    assert found is not None, "required is not 0"
    return found


class ApprovedRun:
    """A run that was registered and passed the gate, and needs approval.

    Args:
        world: Where it runs.
        run_id: Its name.
        settings: Whose approval it needs.
        decision: What its gate said.
        author: Who started it.
        gate: Section of its gate.
    """

    def __init__(
        self, world: World, run_id: str, settings: PromotionSettings, decision: Decision = PASSED,
        author: str = "author", gate: dict[str, Any] | None = None,
    ) -> None:
        self.world, self.settings = world, settings
        self.run: Run = world.run(run_id, decision=decision)
        self.section = PromoteSection(registry=world.settings, rollout=False, promotion=settings)
        self.registration = read_record(self.run.folder / "registration.json", Registration)
        self.author = author
        self.plan()
        self._record("register", RegisterDetails(registration=self.registration.model_dump(mode="json")))
        self.decide(decision, gate)

    @property
    def version(self) -> str:
        return self.registration.version

    def plan(self) -> None:
        champion = read_record(self.run.folder / "champion.json", ModelReference)
        self._record("plan", PlanDetails(
            config={"name": "x", "registry": self.world.settings.model_dump(mode="json")}, author=self.author,
            champion=champion.model_dump(mode="json"),
            base=self.run.candidate.model_copy(
                update={"role": "base", "adapter": "", "adapter_digest": ""}
            ).model_dump(mode="json"),
            sections={"promote": self.section.model_dump(mode="json")},
        ))

    def decide(self, decision: Decision, gate: dict[str, Any] | None = None) -> None:
        self.run.write("decision", decision)
        self._record("gate", DecisionDetails(decision=decision), section=gate or {"gate": {"harm": {"max": 0.1}}})

    def promote(self) -> StageResult:
        inputs = {
            name: self.run.folder / f"{name}.json" for name in ("decision", "registration", "candidate", "champion")
        }
        return promote.run(
            self.run.context("promote"), self.section, **inputs, promotion_out=self.run.out,
            passed_out=self.run.folder / "rolled-out",
        )

    def say(self, action: Any, who: str, reason: str = "fine", confirmed_by: str = "", decision: str = "") -> Standing:
        with acting(who, confirmed_by):
            return sign_off.state_opinion(
                self.world.store, self.world.model, self.version, action, reason, decision
            )

    def _record(self, task: str, details: Details, **parts: Any) -> None:
        write_stage_record(self.world.store, StageRecord(
            run_id=self.run.run_id, stage=task, task=task, status="succeeded", started=1.0, seconds=1.0,
            details=details.model_dump(mode="json", include=details.model_fields_set), **parts,
        ))


@contextmanager
def acting(who: str, confirmed_by: str = "") -> Iterator[None]:
    """Be somebody: the process has one user, and approvals need several."""
    with mock.patch.object(sign_off, "identity", return_value=Identity(who, confirmed_by)):
        yield
