"""What model-based guards share: encode, call the model once, keep the order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from thinksafe.config.model import GuardSettings
from thinksafe.digests import digest_json
from thinksafe.judging.guards.backends import Backend, Ids, open_backend
from thinksafe.judging.guards.base import UNREADABLE, Held, Opinion
from thinksafe.judging.guards.rendering import Encoder, load_format
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
        self.format = load_format(self.name)
        self.encoder = Encoder(self.format, self.model.tokenizer, settings.max_length - answer_tokens)
        self._backend: Backend | None = None

    @property
    def fingerprint(self) -> str:
        """Digest of everything that determines its opinions (weights, format of its prompt, settings, code)."""
        # the location of the model does not matter; its digest identifies it
        settings = self.settings.model_dump(mode="json", exclude={"model", "revision"})
        return digest_json([self.model.digest, self.format.digest, settings, format_of(f"guard {self.name}")])

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

    @abstractmethod
    def ask(self, backend: Backend, prompts: list[Ids], texts: list[str]) -> list[Opinion]:
        """Return the model's opinion on each encoded prompt; ``texts`` are the responses as they were, in order."""
