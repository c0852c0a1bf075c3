"""The digest that says which metric sets can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from thinksafe.config.policy import policy_digest
from thinksafe.digests import digest_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from thinksafe.config.data import Benchmark
    from thinksafe.config.guard import GuardSettings
    from thinksafe.config.model import EngineSettings, RealignmentConfig
    from thinksafe.config.suite import SuiteConfig

ENGINE: dict[str, Any] = {
    "api_key_env": "OPENAI_API_KEY", "base_url": "", "batch_size": 64, "enforce_eager": False,
    "gpu_memory_utilization": 0.9, "kind": "transformers", "max_model_len": 0, "merge_adapter": False,
    "served_model": "", "tensor_parallel_size": 1, "threads": 0, "timeout": 600.0,
}
"""Keys of ``engine`` in the first version of the digest. They stay in the digest; removed keys have this value."""

FIELDS: dict[str, dict[str, str]] = {
    "file": {name: name for name in ("id", "prompt", "answer", "category", "context", "options", "turns")},
    "hub": {"prompt": "prompt", "answer": "", "category": ""},
}
"""In the first version each field of a source had its own key, ``prompt_field`` ...; these are the defaults."""

GUARD = frozenset({
    "backend", "batch_size", "categories", "dtype", "kind", "match_refusals", "max_length", "model", "revision",
    "threshold",
})
"""Keys of a guard in the first version."""

SERVER = ("base_url", "served_model", "api_key_env")
"""Keys of a guard that say where its server is; they determine no number."""

OPTIONS = ("enforce_eager", "gpu_memory_utilization", "max_model_len")
"""Keys of that version that are now in ``engine.options``."""

STEERING = "thinksafe"
"""The first version held a steering template, although nothing is steered in an evaluation."""


def suite_digest(config: RealignmentConfig | SuiteConfig, reasoning: Literal["think", "none"]) -> str:
    """Return the digest of everything that determines the numbers of an evaluation.

    What it covers has a fixed shape, even if that of the configuration changes, so that metric sets of different
    versions of this package stay comparable. A new key of the configuration counts only if it is set.

    Args:
        config: A realignment or a suite.
        reasoning: Setting ``reasoning`` of the measured model.

    Raises:
        InputError: a policy cannot be read.
        StoreError: an object cannot be read.
    """
    evaluation = config.evaluation
    reasoning_settings = evaluation.settings_reasoning
    return digest_json(
        [
            [_benchmark(benchmark) for benchmark in evaluation.benchmarks],
            {
                "engine": _engine(config.engine),
                "settings": evaluation.settings.model_dump(mode="json"),
                "settings_reasoning": reasoning_settings and reasoning_settings.model_dump(mode="json"),
                "n": evaluation.n,
                "n_reasoning": evaluation.n_reasoning,
                "chunk_size": evaluation.chunk_size,
                "template": STEERING,
                "arms": {"harmful": ["plain"], "benign": ["plain"]},
                "reasoning": reasoning,
            },
            {
                "guard": _guard(config.guard.evaluate),
                "parts": evaluation.parts,
                "skip_problems": True,
                "chunk_size": evaluation.chunk_size,
                "reasoning": reasoning,
                **_refusals(config),
            },
        ]
    )


def _refusals(config: RealignmentConfig | SuiteConfig) -> dict[str, Any]:
    second = config.guard.second
    if second is None or not config.guard.second_tells_refusals("evaluate"):
        return {}
    return {"refusals": _guard(second.guard)}


def _benchmark(benchmark: Benchmark) -> dict[str, Any]:
    found = benchmark.model_dump(mode="json", exclude={"gated"})
    found["prompts"].pop("responses", None)  # they are trained on, never measured
    if "fields" in found["prompts"]:
        named = found["prompts"].pop("fields")
        usual = FIELDS["hub" if benchmark.prompts.source == "hub" else "file"]
        found["prompts"] |= {f"{name}_field": named.get(name, default) for name, default in usual.items()}
    return found


def _engine(engine: EngineSettings) -> dict[str, Any]:
    found = _as_first(engine, ENGINE)
    options = found.pop("options", {})
    found |= {name: options.pop(name) for name in OPTIONS if name in options}
    return found | ({"options": options} if options else {})


def _guard(guard: GuardSettings) -> dict[str, Any]:
    fields = type(guard).model_fields
    unset = {name for name, field in fields.items() if name not in GUARD and getattr(guard, name) == field.default}
    found = guard.model_dump(mode="json", exclude=unset | {"members", *SERVER})
    if guard.policy:  # what it says counts, not where it is
        found["policy"] = policy_digest(guard.policy)
    if guard.members:
        found["members"] = [_guard(member) for member in guard.members]
    return found | {"min_mass": 0.5}  # a key of the first version


def _as_first(section: BaseModel, first: dict[str, Any]) -> dict[str, Any]:
    """Return a section with the keys of the first version, and with those later keys that are set."""
    new = {name: field.default for name, field in type(section).model_fields.items() if name not in first}
    dumped = section.model_dump(mode="json")
    return first | {
        name: value for name, value in dumped.items() if name not in new or getattr(section, name) != new[name]
    }
