"""Guards: each gives a response to a prompt a three-valued opinion, ``safe``, ``unsafe`` or ``unknown``.

Nothing heavy is imported before a guard is opened.
"""

from __future__ import annotations

from thinksafe.config.model import GuardSettings
from thinksafe.judging.guards.base import Guard, Opinion

__all__ = ["Guard", "Opinion", "open_guard"]


def open_guard(settings: GuardSettings) -> Guard:
    """Open a guard.

    Raises:
        InputError: the guard's model cannot be found or does not fit the guard's format.
        StoreError: a model in a store could not be read.
    """
    match settings.kind:
        case "micro-exact":
            from thinksafe.judging.guards.exact import ExactGuard

            return ExactGuard()
        case "refusal-match":
            from thinksafe.judging.guards.refusal import RefusalGuard

            return RefusalGuard()
        case "panel":
            from thinksafe.judging.guards.panel import PanelGuard

            return PanelGuard(settings)
        case "llama-guard-3":
            from thinksafe.judging.guards.llama_guard import LlamaGuard

            return LlamaGuard(settings)
        case "wildguard":
            from thinksafe.judging.guards.wildguard import WildGuard

            return WildGuard(settings)
        case "polyguard":
            from thinksafe.judging.guards.polyguard import PolyGuard

            return PolyGuard(settings)
        case "qwen3guard":
            from thinksafe.judging.guards.qwen3guard import Qwen3Guard

            return Qwen3Guard(settings)
        case "granite-guardian-3.3" | "granite-guardian-4.1":
            from thinksafe.judging.guards.granite_guardian import GraniteGuardian

            return GraniteGuardian(settings)
        case "nemotron-safety-guard-3":
            from thinksafe.judging.guards.nemotron import NemotronSafetyGuard

            return NemotronSafetyGuard(settings)
        case "gpt-oss-safeguard":
            from thinksafe.judging.guards.gpt_oss_safeguard import GptOssSafeguard

            return GptOssSafeguard(settings)
