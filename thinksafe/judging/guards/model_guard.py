"""What model-based guards share: encode, call the model once, keep the order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from thinksafe.config.guard_kinds import KINDS, PLACES
from thinksafe.config.model import GuardSettings
from thinksafe.digests import digest_json
from thinksafe.judging.guards.backends import Backend, Ids, open_backend
from thinksafe.judging.guards.base import UNREADABLE, Held, Opinion
from thinksafe.judging.guards.refusal import declines, phrases_digest
from thinksafe.judging.guards.rendering import Encoder, Format, load_format
from thinksafe.judging.guards.weights import GuardModel
from thinksafe.records import Prompt
from thinksafe.run.formats import format_of


class ModelGuard(ABC):
    """A model-based guard. Its weights are loaded for the first text to judge.

    Raises:
        InputError: the model cannot be found, or its tokenizer does not fit the guard's format.
        StoreError: see :class:`thinksafe.judging.guards.weights.GuardModel`.
    """

    name: str

    def __init__(self, settings: GuardSettings, answer_tokens: int) -> None:
        self.settings = settings
        self.model = GuardModel(settings)
        self.format = self.make_format()
        self.encoder = Encoder(self.format, self.model.tokenizer, settings.max_length - answer_tokens)
        self._backend: Backend | None = None

    def make_format(self) -> Format:
        """Return the format of the guard's prompt. Raises InputError if the tokenizer does not fit it."""
        return load_format(self.name)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines its opinions (weights, format of its prompt, settings, code)."""
        # where model and policy are does not matter: their digests identify them
        uses = {"kind"} | KINDS[self.settings.kind].uses - PLACES
        settings = self.settings.model_dump(mode="json", include=uses)
        found = digest_json([self.model.digest, self.format.digest, settings, format_of(f"guard {self.name}")])
        matches = "match_refusals" in uses and self.settings.match_refusals
        return digest_json([found, phrases_digest()]) if matches else found

    def judge(self, rows: list[tuple[Prompt, str]]) -> list[Opinion]:
        """Return one opinion per (prompt, text). Raises InputError or StageError when the weights cannot be loaded."""
        opinions: list[Opinion | None] = []
        prompts: list[Ids] = []
        shortened: list[bool] = []
        texts: list[str] = []
        for prompt, text in rows:
            if not text.strip():
                opinions.append(UNREADABLE)
                continue
            if isinstance(prompt, Held):
                encoded = self.encoder.encode(prompt.turns[-1], text, prompt.earlier)
            else:
                encoded = self.encoder.encode(prompt.prompt, text)
            if encoded.reason:
                opinions.append(Opinion("unknown", reason=encoded.reason))
                continue
            opinions.append(None)
            prompts.append(encoded.ids)
            shortened.append(encoded.shortened)
            texts.append(text)
        if prompts:
            self._backend = self._backend or open_backend(self.settings, self.model)
            answers = self.ask(self._backend, prompts, texts)
            read = iter(replace(a, shortened=cut) for a, cut in zip(answers, shortened, strict=True))
            return [next(read) if opinion is None else opinion for opinion in opinions]
        return [opinion for opinion in opinions if opinion is not None]

    def verdict(self, p_unsafe: float) -> Opinion:
        """Return the verdict for a probability of unsafe."""
        return Opinion("unsafe" if p_unsafe >= self.settings.threshold else "safe", p_unsafe=p_unsafe)

    def with_refusals(self, opinions: list[Opinion], texts: list[str]) -> list[Opinion]:
        """Return opinions of a guard that does not report refusals, with those that phrases show, if wanted."""
        if not self.settings.match_refusals:
            return opinions
        return [
            opinion if opinion.verdict == "unknown" else replace(opinion, refusal=declines(text))
            for opinion, text in zip(opinions, texts, strict=True)
        ]

    @abstractmethod
    def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
        """Return the model's opinion on each encoded prompt; ``texts`` are the responses as they were, in order."""
