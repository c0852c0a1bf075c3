"""Configuration of the guards."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from thinksafe.config.guard_kinds import KINDS
from thinksafe.config.kubernetes import OptionalVariable
from thinksafe.config.vllm import GuardOptions
from thinksafe.settings import Count, Section

Kind = Literal[
    "qwen3guard", "granite-guardian-3.3", "granite-guardian-4.1", "nemotron-safety-guard-3", "gpt-oss-safeguard",
    "polyguard", "llama-guard-3", "wildguard", "panel", "refusal-match", "micro-exact",
]
PanelRule = Literal["majority", "most_severe"]


Use = Literal["filter", "evaluate"]
"""What a guard is there for."""
USES: tuple[Use, ...] = get_args(Use)


class GuardSettings(Section):
    """One safety guard. The fields after ``kind`` are for guards that are models; leave them out for others."""

    kind: Kind
    """``thinksafe guards`` says what each is, under which licence, and what it answers."""
    model: str = ""
    """Local folder, ``s3://bucket/prefix`` or hub id; by default the publisher's hub id."""
    revision: str = ""
    """Commit of a hub id."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of the weights; float32 on CPUs without bfloat16 units."""
    backend: Literal["transformers", "vllm", "endpoint"] = "transformers"
    """``transformers``: for CPUs and small guards. ``vllm``: for GPUs. ``endpoint``: a vLLM server that serves the
    guard; ``model`` still names what it serves, for the tokenizer and the record."""
    max_length: Annotated[int, Field(ge=256, strict=True)] = 20480
    """Tokens of the guard's context to use; the middle of a longer response is left out, and the verdict says so. The
    default holds the longest training response of the recipe."""
    batch_size: Count = 8
    """Texts per batch (transformers) or concurrent requests (endpoint); vLLM makes its own batches."""
    base_url: str = ""
    """Address of the endpoint, ending in ``/v1``."""
    served_model: str = ""
    """Name under which the endpoint serves the guard; ``model`` by default."""
    api_key_env: OptionalVariable = ""
    """Environment variable that holds the endpoint's key; the key itself is never part of a config."""
    options: GuardOptions = {}
    """vLLM's own engine arguments, as in ``engine.options``: ``tensor_parallel_size``, ``quantization`` ..."""
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Guards with a probability: the verdict is unsafe if the probability of unsafe, among the guard's labels, is this
    or higher."""
    strict: bool = True
    """Qwen3Guard: a controversial text counts as unsafe. Off: it counts as safe."""
    policy: str = ""
    """Local path or ``s3://bucket/key`` of the team's own policy, a text file in plain words. gpt-oss-safeguard needs
    one; Granite Guardian judges harm in general without one."""
    votes: Count = 5
    """gpt-oss-safeguard: how often it is asked about each text; the probability is the share of votes for unsafe."""
    effort: Literal["low", "medium", "high"] = "medium"
    """gpt-oss-safeguard: how long it reasons before each vote."""
    categories: bool = False
    """Also ask Llama-Guard-3 or Nemotron for the hazard categories of unsafe texts; costs one generation per text."""
    match_refusals: bool = True
    """For guards that do not report whether a text declines. On: phrases decide, unless ``guard.second`` reports it for
    all samples. Off: it stays unknown, so harmful prompts give no examples unless ``curate.require_refusal`` is off."""

    members: tuple[GuardSettings, ...] = ()
    """panel: the guards that judge, two or more. They take turns, and each one's verdicts are kept by themselves."""
    rule: PanelRule = "majority"
    """panel: ``majority``: the verdict of more than half of the members. ``most_severe``: unsafe if one says so, safe
    if all do. Unknown never counts as safe."""

    @property
    def each(self) -> tuple[GuardSettings, ...]:
        """The guards that read texts: the members of a panel, else this one."""
        return self.members or (self,)

    @property
    def answers_refusals(self) -> bool:
        """Whether it answers by itself whether a text declines; a panel does if one of its members does."""
        return any(KINDS[one.kind].answers_refusals for one in self.each)

    @model_validator(mode="before")
    @classmethod
    def _published_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("model") and data.get("kind") in tuple(KINDS):
            return {**data, "model": KINDS[data["kind"]].model}
        return data

    @model_validator(mode="after")
    def _fields_apply(self) -> GuardSettings:
        uses = {"kind"} | KINDS[self.kind].uses
        fields = GuardSettings.model_fields.items()
        if found := [name for name, field in fields if name not in uses and getattr(self, name) != field.default]:
            raise ValueError(f"{', '.join(found)}: the guard {self.kind} does not use this; leave it out")
        if self.kind == "gpt-oss-safeguard" and not self.policy:
            raise ValueError("policy: gpt-oss-safeguard judges by a policy of yours; name its file")
        if self.kind == "panel":
            _check_members(self.members)
        if (self.backend == "endpoint") != bool(self.base_url):
            raise ValueError("base_url: the address of the endpoint goes with backend: endpoint, and with no other")
        if self.options and self.backend != "vllm":
            raise ValueError(f"options need vLLM, but backend is {self.backend}; leave them out or set backend: vllm")
        return self


def _check_members(members: tuple[GuardSettings, ...]) -> None:
    if len(members) < 2:
        raise ValueError("members: a panel has two guards or more")
    if any(member.kind == "panel" for member in members):
        raise ValueError("members: a panel cannot be a member of a panel; name its guards")
    if len({(member.kind, member.model, member.revision, member.policy) for member in members}) < len(members):
        raise ValueError("members: the same guard twice, so its vote would count twice; name another")


class SecondGuardSettings(GuardSettings):
    """A second opinion on some of the samples: the settings of a guard, and which samples it judges."""

    every_n: Count = 10
    """Judge one sample in this many, chosen by a seeded digest of its id: the same ones for base, candidate and
    champion, whatever the parallelism. With few samples, the actual number varies by chance; 1 judges all."""
    filter: bool = False
    """Also judge samples of the pilot and of training. These verdicts change no example, except that its answer on
    refusals is preferred to phrases if it reads them all (``every_n: 1``); the report counts the disagreements."""

    @property
    def guard(self) -> GuardSettings:
        """The guard without the choice of samples."""
        return GuardSettings(**self.model_dump(include=set(GuardSettings.model_fields)))


class GuardsSettings(Section):
    """Guards for the two uses, by default different ones on real models, and an optional second opinion."""

    filter: GuardSettings
    """Judges training samples and the pilot."""
    evaluate: GuardSettings
    """Judges evaluation samples."""
    second: SecondGuardSettings | None = None
    """Also judges every n-th sample; the disagreement is measured, and ``gate.second_guard`` limits it."""
    reward: GuardSettings | None = None
    """Gives the reward where the method has one (``grpo``), by default ``filter``. It must not also evaluate, and its
    backend is ``transformers`` (beside the student in each training process) or ``endpoint``."""

    @property
    def named(self) -> dict[str, GuardSettings]:
        """Every guard that reads texts, by its key below ``guard``."""
        uses = {"filter": self.filter, "evaluate": self.evaluate, "second": self.second, "reward": self.reward}
        return {
            f"{use}.members.{place}" if guard.members else use: member
            for use, guard in uses.items() if guard is not None for place, member in enumerate(guard.each)
        }

    @model_validator(mode="after")
    def _second_is_another(self) -> GuardsSettings:
        if self.second is None:
            return self
        if self.second.kind == "panel":
            raise ValueError("second: a panel cannot be the second guard; name one guard")
        uses = {"guard.evaluate": self.evaluate, **({"guard.filter": self.filter} if self.second.filter else {})}
        for name, first in uses.items():
            second = self.second.kind, self.second.model, self.second.revision
            if any((member.kind, member.model, member.revision) == second for member in first.each):
                raise ValueError(f"second: the same guard as {name}, so they would always agree; name another")
        return self

    def second_tells_refusals(self, use: Use) -> bool:
        """Return whether the second guard's answer on refusals stands in place of phrases.

        It does where it answers the question itself, the first guard does not, and it reads every sample: a number
        never mixes the two.
        """
        first, second = getattr(self, use), self.second
        return (
            second is not None and second.every_n == 1 and (second.filter or use == "evaluate")
            and second.answers_refusals and not first.answers_refusals
        )

    @property
    def same(self) -> str:
        """Kind of the guard that both filters and evaluates; empty if they are two guards."""
        return self.filter.kind if self.filter.kind == self.evaluate.kind else ""
