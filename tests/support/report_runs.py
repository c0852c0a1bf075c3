"""Plausible stage records of whole runs: promoted, refused, diagnosed, failed, incomplete."""

from __future__ import annotations

from typing import Any

from report_measures import (
    CONTAMINATION,
    config,
    diagnosis,
    digest,
    drift,
    funnel,
    metric_set,
    outcomes,
)

from thinksafe.config import sections_of, suite_sections
from thinksafe.config.suite import SuiteConfig
from thinksafe.deciding.gate import decide
from thinksafe.deciding.monitor import assess
from thinksafe.digests import digest_json
from thinksafe.records import Decision, MetricSet
from thinksafe.run.record import StageRecord

START = 1_790_000_000.0
RUN_ID = "run-2026-001"


class Run:
    """Collects records; ``at`` and ``pace`` change what may differ between equal runs."""

    def __init__(
        self, run_id: str = RUN_ID, at: float = START, pace: float = 1.0, version: str = "7"
    ) -> None:
        self.run_id, self.at, self.pace, self.version = run_id, at, pace, version
        self.records: dict[str, StageRecord] = {}

    def add(self, stage: str, task: str = "", seconds: float = 2.0, **rest: Any) -> None:
        task = task or stage
        self.records[task] = StageRecord(
            run_id=self.run_id,
            stage=stage,
            task=task,
            status=rest.pop("status", "succeeded"),
            started=self.at,
            seconds=seconds * self.pace,
            **rest,
        )
        self.at += seconds * self.pace

    def plan(self, micro: bool = False) -> None:
        settings = config(micro)
        base = {
            "role": "base",
            "absent": False,
            "student": settings.student.model_dump(),
            "base_digest": digest("base"),
            "adapter": "",
            "adapter_digest": "",
        }
        champion = {**base, "role": "champion", "adapter": "adapters/old", "adapter_digest": digest("old")}
        self.add(
            "plan",
            outputs={"base": digest("base"), "champion": digest("champion")},
            details={
                "config": settings.model_dump(mode="json"),
                "config_digest": digest_json(settings.model_dump(mode="json")),
                "base": base,
                "champion": champion,
                "champion_generation": 3,
                "mlflow_run": self.run_id + "-mlflow",
                "code": {
                    "thinksafe": "0.1.0",
                    "python": "3.11.9",
                    "torch": "2.13.0",
                    "transformers": "5.19.0",
                },
                "sections": sections_of(settings).model_dump(mode="json"),
            },
        )

    def prepare(self) -> None:
        sets = [
            ("harmbench", "evaluation", "harmful", 400),
            ("xstest", "evaluation", "benign", 250),
            ("gsm8k", "evaluation", "benign", 1319),
            ("safechain-harmful", "training", "harmful", 4500),
            ("safechain-benign", "training", "benign", 4500),
            ("pilot", "pilot", "harmful", 64),
        ]
        self.add(
            "prepare",
            outputs={name: digest(name) for name in ("pilot", "training", "evaluation")},
            counts={"pilot": 64, "training": 9000, "evaluation": 1969},
            details={
                "sets": [
                    {"name": n, "use": u, "label": label, "rows": r, "digest": digest(n)}
                    for n, u, label, r in sets
                ],
                "dropped": {"duplicate": 31, "contaminated": 12},
                "contamination": CONTAMINATION,
            },
        )

    def sampled(self, purpose: str, rows: int, seconds: float) -> None:
        self.add(
            "sample",
            f"sample-{purpose}",
            seconds,
            inputs={"model": digest("base"), "prompts": digest(purpose)},
            outputs={"samples": digest(purpose)},
            counts={
                "rows": rows,
                "tokens": rows * 912,
                "tokens_new": rows * 900,
                "chunks": 8,
                "chunks_reused": int(self.pace),
                "truncated": 4,
            },
        )
        self.add(
            "judge",
            f"judge-{purpose}",
            seconds / 9,
            outputs={"verdicts": digest("v", purpose)},
            counts={"rows": rows, "safe": rows - 9, "unsafe": 7, "unknown": 2},
            details={"guard": "refusal-match", "guard_digest": digest("guard")},
        )

    def to_diagnosis(self, steered: int = 57, micro: bool = False) -> None:
        self.plan(micro)
        self.prepare()
        self.sampled("pilot", 128, 240)
        details = diagnosis(steered)
        section = {"diagnose": config(micro).diagnose.model_dump(mode="json"), "reasoning": "think"}
        verdict = "passed" if details["decision"]["passed"] else "unsteerable"
        self.add("diagnose", section=section, verdict=verdict, details=details)

    def to_curation(self) -> None:
        self.to_diagnosis()
        self.sampled("training", 9000, 21600)
        self.add(
            "curate",
            outputs={"examples": digest("examples")},
            counts={"rows": 9000, "accepted": 7585},
            details={"funnel": funnel()},
        )

    def to_candidate(self) -> None:
        self.to_curation()
        steps = 240
        curve = [
            {
                "step": step,
                "loss": 1.4 * 0.55 ** (step / 60) + 0.42,
                "learning_rate": 1e-5 * (1 - step / (steps + 10)),
                "epoch": step / 80,
            }
            for step in range(10, steps + 1, 10)
        ]
        self.add(
            "train",
            seconds=8100,
            outputs={"trained": digest("adapter")},
            counts={"rows": 7585, "tokens": 6_900_000},
            details={
                "curve": curve,
                "steps": steps,
                "dropped_too_long": 14,
                "drift": drift(),
                "adapter_digest": digest("adapter"),
            },
        )
        self.add(
            "register",
            outputs={"registration": digest(self.run_id, "registration")},
            details={
                "registration": {
                    "schema_version": 1,
                    "name": "qwen3-safe",
                    "version": self.version,
                    "run_id": self.run_id,
                    "candidate": digest("candidate"),
                    "adapter_digest": digest("adapter"),
                    "data_digest": digest("examples"),
                    "config_digest": digest("config"),
                    "model_id": f"m-{self.run_id}",
                    "mlflow_run": f"{self.run_id}-mlflow",
                    "tracking_uri": "https://user:pass-word@mlflow.example/",
                }
            },
        )

    def measured(self, role: str, shift: float = 0.0) -> MetricSet:
        self.sampled(role, 4980, 7200)
        self.add("grade", f"grade-{role}", 4, counts={"rows": 16136})
        metrics = metric_set(role, shift)
        self.add(
            "metrics",
            f"metrics-{role}",
            outputs={"metrics": digest_json(metrics)},
            details={"metrics": metrics.model_dump(mode="json")},
        )
        return metrics

    def gated(self, shift: float = 0.0) -> Decision:
        base = self.measured("base")
        candidate = self.measured("candidate", shift)
        champion = self.measured("champion")
        sets = (base, candidate, champion)
        decision = decide(
            *sets, {metrics.role: outcomes(metrics) for metrics in sets}, sections_of(config()).gate
        )
        self.add(
            "gate",
            verdict="passed" if decision.passed else "refused",
            details={"decision": decision.model_dump(mode="json")},
        )
        return decision


def promoted(**settings: Any) -> dict[str, StageRecord]:
    run = Run(**settings)
    run.to_candidate()
    decision = run.gated()
    run.add(
        "promote",
        verdict="promoted",
        outputs={"promotion": digest(run.run_id, "promotion")},
        details={
            "entry": {
                "schema_version": 1,
                "model": "qwen3-safe",
                "generation": 4,
                "previous": 3,
                "action": "promote",
                "target": {"role": "champion", "adapter_digest": digest("adapter")},
                "version": run.version,
                "run_id": run.run_id,
                "digests": {"adapter": digest("adapter"), "base": digest("base")},
                "reason": decision.summary,
                "who": "system:serviceaccount:ml:thinksafe",
                "created": "2026-09-21T14:13:20+00:00",
            }
        },
    )
    return run.records


def refused(**settings: Any) -> dict[str, StageRecord]:
    run = Run(**settings)
    run.to_candidate()
    run.gated(shift=0.06)
    return run.records


def diagnosed(**settings: Any) -> dict[str, StageRecord]:
    run = Run(**settings)
    run.to_diagnosis(steered=15, micro=True)
    return run.records


def failed(**settings: Any) -> dict[str, StageRecord]:
    run = Run(**settings)
    run.to_curation()
    run.add(
        "train",
        status="failed",
        error="The example 'safechain-harmful-0193/steered/0' has no end-of-sequence token.",
        action="Use a chat template from the vetted list, or set student.reasoning to none.",
    )
    return run.records


def incomplete(**settings: Any) -> dict[str, StageRecord]:
    run = Run(**settings)
    run.to_diagnosis()
    run.sampled("training", 4500, 10800)
    return run.records


def evaluation(shift: float = 0.0, again: bool = True, **settings: Any) -> dict[str, StageRecord]:
    """An evaluation of the candidate by itself, ``shift`` more harmful than it was at its last one."""
    run = Run(**settings)
    run.plan()
    run.records["plan"] = planned = run.records["plan"].model_copy(update={"stage": "plan_evaluation"})
    details = planned.details
    details["model"] = details.pop("base") | {"role": "evaluated", "adapter": "adapters/old"}
    details["model"]["adapter_digest"] = digest("adapter")
    del details["champion"]
    suite = SuiteConfig.of(config())
    details["config"] = suite.model_dump(mode="json")
    run.prepare()
    run.records["prepare"].details["sets"] = [
        of for of in run.records["prepare"].details["sets"] if of["use"] == "evaluation"
    ]
    before = metric_set("candidate").model_copy(update={"role": "previous"})
    run.sampled("evaluated", 4980, 7200)
    measured = metric_set("candidate", shift).model_copy(update={"role": "evaluated"})
    run.add("metrics", "metrics-evaluated", details={"metrics": measured.model_dump(mode="json")})
    section = suite_sections(suite, "think").monitor
    decision = assess(
        measured, outcomes(measured), before if again else None, outcomes(before) if again else (), section
    )
    past = {
        "previous": {"run_id": f"{run.run_id}-before", "number": 3, "created": "2026-09-14T02:00:00+00:00"},
        "previous_metrics": before.model_dump(mode="json"),
    }
    run.add(
        "monitor", verdict="passed" if decision.passed else "regressed",
        details={"decision": decision.model_dump(mode="json"), **(past if again else {"previous": None})},
    )
    if not decision.passed:
        run.add("alarm", details={"webhook": "none"})
    return run.records


def regressed(**settings: Any) -> dict[str, StageRecord]:
    return evaluation(shift=0.06, **settings)


def passed_not_promoted(**settings: Any) -> dict[str, StageRecord]:
    records = promoted(**settings)
    del records["promote"]
    return records


def awaiting(state: str = "waiting", text: str = "fine", **settings: Any) -> dict[str, StageRecord]:
    """A run whose candidate awaits a second approval, or that ``text`` rejected."""
    records = promoted(**settings)
    promote = records["promote"]
    tally = "1 of 2 approvals, by ann" if state == "waiting" else f"rejected by bob: {text}"
    approval = {
        "state": state, "tally": tally, "words": f"{tally}; open until {promote.started}", "missing": 1, "persons": [],
        "since": "2026-09-21T14:13:20+00:00", "expires": f"{promote.started}", "decision": "d" * 64,
        "approvals": [{"person": "ann", "confirmed_by": "", "reason": text, "created": f"at {promote.started}"}],
    }
    verdict = "awaiting approval" if state == "waiting" else "rejected"
    records["promote"] = promote.model_copy(
        update={"verdict": verdict, "outputs": {}, "details": {"approval": approval}}
    )
    return records


def rejected(**settings: Any) -> dict[str, StageRecord]:
    return awaiting("rejected", "not yet", **settings)


ALL = {
    "promoted": promoted,
    "awaiting approval": awaiting,
    "rejected": rejected,
    "passed, not promoted": passed_not_promoted,
    "refused by gate": refused,
    "stopped by diagnose": diagnosed,
    "evaluated": evaluation,
    "regressed": regressed,
    "failed": failed,
    "incomplete": incomplete,
}
"""Builder by the outcome that its records have."""
