"""The kinds of guards: what each is, where it is published, and which settings it uses. One entry per kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

BACKENDS = ("transformers", "vllm", "endpoint")
"""What can run the weights of a guard."""

PLACES = frozenset({"model", "revision", "policy", "base_url", "served_model", "api_key_env"})
"""Settings that say where something is, not what it is."""
_RUNNING = frozenset({"dtype", "backend", "max_length", "batch_size", "options"})
_WEIGHTS = _RUNNING | PLACES - {"policy"}


@dataclass(frozen=True)
class GuardKind:
    """One kind of guard."""

    title: str
    refusals: str
    """How it knows whether a text declines."""
    probability: str
    """Where its probability of unsafe comes from; empty if it gives none."""
    own: frozenset[str] = field(default=frozenset())
    """Settings that it uses besides those of the weights."""
    model: str = ""
    """Hub id by default; empty for guards without weights."""
    others: tuple[str, ...] = ()
    """Other published models of the same format."""
    licence: str = ""
    """Of the weights, as stated on the hub."""
    gated: bool = False
    """The hub requires a token whose owner has accepted the terms."""
    categories: str = ""
    """What it can name; empty if it names no categories."""
    exact: bool = False
    """It makes no mistakes that training could learn, so it may both reward and evaluate."""

    @property
    def answers_refusals(self) -> bool:
        """Whether it answers by itself whether a text declines."""
        return self.refusals != "phrases"

    @property
    def uses(self) -> frozenset[str]:
        """Settings that mean something for this kind, besides ``kind``."""
        return self.own | (_WEIGHTS if self.model else frozenset())


KINDS: dict[str, GuardKind] = {
    "qwen3guard": GuardKind(
        "Qwen3Guard-Gen, three labels: safe, unsafe, controversial", "its own answer",
        "the three labels after `Safety:`", frozenset({"threshold", "strict"}),
        "Qwen/Qwen3Guard-Gen-4B", ("Qwen/Qwen3Guard-Gen-0.6B", "Qwen/Qwen3Guard-Gen-8B"), "Apache-2.0",
        categories="8, always",
    ),
    "granite-guardian-3.3": GuardKind(
        "Granite Guardian 3.3, one criterion, yes or no; the team's own with `policy`", "phrases",
        "yes and no after `<score>`", frozenset({"threshold", "match_refusals", "policy"}),
        "ibm-granite/granite-guardian-3.3-8b", licence="Apache-2.0",
    ),
    "granite-guardian-4.1": GuardKind(
        "Granite Guardian 4.1, one criterion, yes or no; the team's own with `policy`", "phrases",
        "yes and no after `<score>`", frozenset({"threshold", "match_refusals", "policy"}),
        "ibm-granite/granite-guardian-4.1-8b", licence="Apache-2.0",
    ),
    "nemotron-safety-guard-3": GuardKind(
        "Llama-3.1-Nemotron-Safety-Guard-8B-v3, ratings of prompt and response as JSON", "phrases",
        "safe and unsafe in the field `Response Safety`", frozenset({"threshold", "match_refusals", "categories"}),
        "nvidia/Llama-3.1-Nemotron-Safety-Guard-8B-v3",
        licence="NVIDIA Open Model License, Llama 3.1 Community License",
        categories="23, on request",
    ),
    "gpt-oss-safeguard": GuardKind(
        "gpt-oss-safeguard, reasons over the team's own `policy`, then answers", "phrases",
        "share of `votes`", frozenset({"threshold", "match_refusals", "policy", "votes", "effort"}),
        "openai/gpt-oss-safeguard-20b", ("openai/gpt-oss-safeguard-120b",), "Apache-2.0",
    ),
    "polyguard": GuardKind(
        "PolyGuard, three yes/no answers in 17 languages", "its own answer", "", frozenset(),
        "ToxicityPrompts/PolyGuard-Qwen", ("ToxicityPrompts/PolyGuard-Qwen-Smol",), "CC-BY-4.0",
        categories="14, always",
    ),
    "llama-guard-3": GuardKind(
        "Llama-Guard-3-8B, the next token is the verdict", "phrases", "safe and unsafe as the next token",
        frozenset({"threshold", "match_refusals", "categories"}),
        "meta-llama/Llama-Guard-3-8B", licence="Llama 3.1 Community License", gated=True, categories="14, on request",
    ),
    "wildguard": GuardKind(
        "WildGuard, three yes/no answers", "its own answer", "", frozenset(),
        "allenai/wildguard", licence="Apache-2.0", gated=True,
    ),
    "panel": GuardKind(
        "several guards; one verdict by majority or by the most severe", "most members that answer", "",
        frozenset({"members", "rule"}), categories="those of its members",
    ),
    "refusal-match": GuardKind("refusal phrases, no model; for plumbing only", "phrases", ""),
    "micro-exact": GuardKind("the grammar of the micro world", "exact", "", exact=True),
}


def carried_over(section: Mapping[str, Any], kind: object, said: Collection[str] = ()) -> dict[str, Any]:
    """Return a guard's section with what it keeps if its kind becomes another: how weights are run, and nothing else.

    A model, a commit, a server, a policy and a threshold are those of one guard.

    Args:
        section: The section as written; it may be malformed.
        kind: The new kind; an unknown one changes nothing, and validation refuses it.
        said: Keys that were set for the new kind.
    """
    new = KINDS.get(kind) if isinstance(kind, str) else None
    if new is None or kind == section.get("kind"):
        return dict(section)
    of_guards = PLACES.union(*(other.uses for other in KINDS.values()))
    kept = new.uses & (_RUNNING | set(said))
    return {key: value for key, value in section.items() if key in kept or key not in of_guards}
