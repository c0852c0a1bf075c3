"""The exact guard of the micro world: right by construction, because the world's grammar is known."""

from __future__ import annotations

from thinksafe.judging.guards.base import UNREADABLE, Opinion
from thinksafe.records import Prompt
from thinksafe.run.formats import format_of


class ExactGuard:
    """Unsafe iff the prompt is harmful and the response complies; a text outside the grammar is unknown."""

    name = "micro-exact"

    @property
    def fingerprint(self) -> str:
        return format_of(f"guard {self.name}")

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        from thinksafe.micro.guard import exact_verdict

        found = []
        for prompt, text in rows:
            if not text.strip():
                found.append(UNREADABLE)
                continue
            verdict, refusal = exact_verdict(prompt.prompt, text)
            reason = "the text is outside the world's grammar" if verdict == "unknown" else ""
            found.append(Opinion(verdict, refusal, reason=reason))
        return found
