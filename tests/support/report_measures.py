"""What the stages of report_runs measured: plausible metrics, outcomes, funnels and drift."""

from __future__ import annotations

import hashlib
from typing import Any

from thinksafe.config import RealignmentConfig
from thinksafe.measuring.statistics import Estimate, pass_at_1, proportion_of
from thinksafe.records import Metric, MetricSet, Outcome, SamplingSettings

CONFIDENCE = 0.9


HARM = {
    "harmbench": (0.482, 0.031, 0.058),
    "strongreject": (0.413, 0.022, 0.037),
    "wildjailbreak": (0.551, 0.064, 0.081),
}


OVER = {"xstest": (0.028, 0.044, 0.052)}


REASONING = {
    "gsm8k": (0.779, 0.771, 0.768),
    "math500": (0.741, 0.738, 0.729),
    "gpqa-diamond": (0.271, 0.268, 0.265),
}


SIZES = {
    "harmbench": 400,
    "strongreject": 313,
    "wildjailbreak": 2000,
    "xstest": 250,
    "gsm8k": 1319,
    "math500": 500,
    "gpqa-diamond": 198,
}


ROLES = ("base", "candidate", "champion")


def digest(*names: str) -> str:
    return hashlib.sha256("/".join(names).encode()).hexdigest()


def config(micro: bool = False) -> RealignmentConfig:
    def benchmark(name: str, metric: str) -> dict[str, Any]:
        return {"name": name, "metric": metric, "prompts": {"source": "jsonl", "path": f"data/{name}.jsonl"}}

    guard = "micro-exact" if micro else "refusal-match"
    return RealignmentConfig.model_validate(
        {
            "name": "micro" if micro else "qwen3-0.6b",
            "student": {
                "model": "micro://default" if micro else "Qwen/Qwen3-0.6B",
                "revision": "" if micro else "c1899de2",
            },
            "data": {
                "harmful": [
                    {
                        "name": "safechain-harmful",
                        "prompts": {"source": "jsonl", "path": "data/harmful.jsonl"},
                    }
                ],
                "benign": [
                    {"name": "safechain-benign", "prompts": {"source": "jsonl", "path": "data/benign.jsonl"}}
                ],
            },
            "guard": {"filter": {"kind": guard}, "evaluate": {"kind": guard}},
            "evaluation": {
                "benchmarks": [
                    *(benchmark(name, "harm") for name in HARM),
                    *(benchmark(name, "over_refusal") for name in OVER),
                    *(benchmark(name, "reasoning") for name in REASONING),
                ],
                "parts": ["whole", "answer"],
            },
            "registry": {"model": "qwen3-safe", "tracking_uri": "https://mlflow.example/"},
        }
    )


def metric_set(role: str, shift: float = 0.0) -> MetricSet:
    place = ROLES.index(role)
    settings = SamplingSettings(max_tokens=32768)
    found = []
    for kind, benchmarks in (("harm", HARM), ("over_refusal", OVER), ("reasoning", REASONING)):
        for name, values in benchmarks.items():
            n = SIZES[name]
            hits = round(
                min(max(values[place] + (shift if role == "candidate" and kind == "harm" else 0), 0), 1) * n
            )
            estimate = (
                pass_at_1([1.0] * hits + [0.0] * (n - hits), CONFIDENCE, 1)
                if kind == "reasoning"
                else proportion_of(hits, n, CONFIDENCE)
            )
            parts = ("whole", "answer") if kind == "harm" else ("whole",)
            found += [_metric(kind, name, part, estimate, n, settings) for part in parts]
    return MetricSet(role=role, suite=digest("suite"), metrics=tuple(found))


def _metric(
    kind: str, name: str, part: str, estimate: Estimate, n: int, settings: SamplingSettings
) -> Metric:
    suffix = "" if part == "whole" else f"/{part}"
    return Metric(
        name=f"{kind}/{name}{suffix}",
        kind=kind,
        benchmark=name,
        part=part,
        value=estimate.value,
        n=n,
        samples=n * (8 if kind == "reasoning" else 1),
        unknown=2 if kind == "harm" else 0,
        truncated=3,
        interval=estimate.interval,
        settings=settings,
    )


def outcomes(metrics: MetricSet) -> list[Outcome]:
    return [
        Outcome(
            metric=metric.name,
            prompt_id=f"{metric.benchmark}-{index:05d}",
            value=float(index < round(metric.value * metric.n)),
        )
        for metric in metrics.metrics
        for index in range(metric.n)
    ]


def rate(hits: int, n: int) -> dict[str, Any]:
    estimate = proportion_of(hits, n, CONFIDENCE)
    return {"value": estimate.value, "n": n, "interval": estimate.interval.model_dump()}


def diagnosis(steered: int = 57) -> dict[str, Any]:
    checks = []
    for name, hits, n in (("acceptance", steered, 64), ("flip_rate", max(steered - 14, 1), 48)):
        found = rate(hits, n)
        low = found["interval"]["low"]
        checks.append(
            {
                "name": f"steerability/{name}",
                "passed": low >= 0.3,
                "value": found["value"],
                "interval": found["interval"],
                "threshold": 0.3,
                "n": n,
                "reason": f"The lower bound, {100 * low:.1f} %, {'reaches' if low >= 0.3 else 'is below'} 30 %.",
            }
        )
    passed = all(check["passed"] for check in checks)
    return {
        "decision": {
            "passed": passed,
            "stopped_by": None if passed else "diagnose",
            "checks": checks,
            "summary": "Steerable: steering brings out accepted refusals where plain samples are not safe."
            if passed
            else "No latent safety knowledge: 2 of 2 checks failed.",
        },
        "continues": passed,
        "acceptance_steered": rate(steered, 64),
        "acceptance_plain": rate(11, 64),
        "flip_rate": rate(max(steered - 14, 1), 48),
        "reasons": {
            "plain": {"accepted": 11, "unsafe": 48, "incomplete": 5},
            "steered": {"accepted": steered, "unsafe": 64 - steered},
        },
    }


def funnel() -> list[dict[str, Any]]:
    counts = {
        ("harmful", "steered"): {
            "accepted": 3480,
            "incomplete": 212,
            "unsafe": 601,
            "unknown": 17,
            "not_a_refusal": 190,
        },
        ("benign", "plain"): {"accepted": 4105, "incomplete": 260, "unsafe": 44, "unknown": 9, "refusal": 82},
    }
    return [
        {"label": label, "arm": arm, "reason": reason, "count": count}
        for (label, arm), reasons in counts.items()
        for reason, count in reasons.items()
    ]


CONTAMINATION = {
    "ngram": 13,
    "dropped": True,
    "benchmarks": [
        {"benchmark": "harmbench", "prompts": 400, "found": 11, "left": 0},
        {"benchmark": "xstest", "prompts": 250, "found": 0, "left": 0},
    ],
    "overlaps": [
        {"id": f"p{i:02d}", "kind": "exact" if i else "ngram", "evaluation_id": f"h{i:02d}", "benchmark": "harmbench"}
        for i in range(12)
    ],
}


def drift() -> list[dict[str, Any]]:
    numbers = {
        "harmful": {"nll_student": 1.31, "nll_candidate": 0.62, "kl": 0.48},
        "benign": {"nll_student": 0.71, "nll_candidate": 0.69, "kl": 0.013},
    }
    return [
        {
            "measure": measure, "label": label, "value": value, "n": 100, "tokens": 41_211,
            "interval": {"low": 0.9 * value, "high": 1.1 * value, "confidence": 0.9, "method": "t, by row (HC1)"},
        }
        for label, of in numbers.items()
        for measure, value in of.items()
    ]
