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
    if settings.kind == "micro-exact":
        from thinksafe.judging.guards.exact import ExactGuard

        return ExactGuard()
    if settings.kind == "llama-guard-3":
        from thinksafe.judging.guards.llama_guard import LlamaGuard

        return LlamaGuard(settings)
    if settings.kind == "wildguard":
        from thinksafe.judging.guards.wildguard import WildGuard

        return WildGuard(settings)
    from thinksafe.judging.guards.refusal import RefusalGuard

    return RefusalGuard()
