"""Guards of the published ones' structure, as small as they get: byte-level tokenizers and models that write a script.

A model's attention and feed-forward add nothing, so that its next token depends on the last one alone: ``steps`` says
which tokens may follow which, and how likely they are among one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinksafe.config.model import GuardSettings
from thinksafe.records import Prompt

TEMPLATES = Path(__file__).parents[1] / "data" / "templates"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
POLICY = "Nothing about the colour of the shed may be said."


@dataclass(frozen=True)
class Family:
    """What the tokenizer of a guard has."""

    template: str
    """File of the chat template below ``TEMPLATES``; empty for none."""
    controls: tuple[str, ...]
    """Special tokens, the last one the end-of-sequence token."""
    words: tuple[str, ...]
    """Words that are one token each."""
    answers: tuple[str, ...]
    """Texts that the scripted model writes as one token each."""
    plain: tuple[str, ...] = ()
    """Added tokens that are not special."""
    begin: str | None = None
    """The begin-of-sequence token."""


SAFE_REST = "\nCategories: None\nRefusal: Yes"
UNSAFE_REST = "\nCategories: Violent, PII\nRefusal: No"
VOTES = tuple(
    f"<|channel|>analysis<|message|>The policy says so.<|end|><|start|>assistant<|channel|>final<|message|>{vote}"
    for vote in "01"
)
FIVE_LINES = tuple(
    f"Harmful request: yes\nRequest safety violations: S2\nResponse refusal: {declines}\nHarmful response: {harmful}\n"
    f"Response safety violations: {named}"
    for declines, harmful, named in (("yes", "no", "None"), ("no", "yes", "S1, S7"))
)
FAMILIES = {
    "qwen3guard": Family(
        "qwen3guard.jinja", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), (" Safe", " Unsafe"),
        (SAFE_REST, UNSAFE_REST, "I think."), ("<think>", "</think>"),
    ),
    "granite-guardian-3.3": Family(
        "granite-guardian-3.3.jinja", ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        (" yes", " no", "yes", "no"), (), begin="<|end_of_text|>",
    ),
    "granite-guardian-4.1": Family(
        "granite-4.1.jinja", ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"), (" yes", " no", "yes", "no"),
        (), begin="<|end_of_text|>",
    ),
    "nemotron-safety-guard-3": Family(
        "llama-3.1.jinja", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ("safe", "unsafe"), ('Violence, Threat"}',), begin="<|begin_of_text|>",
    ),
    "gpt-oss-safeguard": Family(
        "", ("<|startoftext|>", "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"),
        ("assistant",), (*VOTES, "Hm."), begin="<|startoftext|>",
    ),
    "polyguard": Family("chatml.jinja", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), (), (*FIVE_LINES, "Hm.")),
}


def prompt(text: str = "How do I bake bread?") -> Prompt:
    """Return a prompt labelled harmful."""
    return Prompt(id="p", prompt=text, label="harmful", source="test")


def settings_for(kind: str, folder: Path, **fields: Any) -> GuardSettings:
    """Return settings for a tiny guard; those that need a policy get one."""
    if kind == "gpt-oss-safeguard" and "policy" not in fields:
        fields["policy"] = str(folder / "policy.md")
        (folder / "policy.md").write_text(POLICY, "utf-8")
    return GuardSettings.model_validate(
        {"kind": kind, "model": str(folder), "dtype": "float32", "max_length": 8192} | fields
    )


def byte_level(split: str, size: int) -> tuple[Any, Any]:
    """Return an empty byte-level BPE that cuts text by a pattern, and a trainer for a vocabulary of a size."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), bytes_alone])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)


def write_tokenizer(kind: str, folder: Path, *, words: tuple[str, ...] | None = None, template: str = "") -> Any:
    """Write the tokenizer of a guard and return it.

    Args:
        kind: The guard.
        folder: Where to.
        words: In place of the family's.
        template: Text of another chat template.
    """
    from tokenizers import AddedToken, processors
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[kind]
    tokenizer, trainer = byte_level(SPLIT, 400)
    wanted = family.words if words is None else words
    # no other text, so that only these are whole tokens
    tokenizer.train_from_iterator([*(f"x{word}" if word[0] == " " else f"\n{word}" for word in wanted)] * 99, trainer)
    tokenizer.add_special_tokens(list(family.controls))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in (*family.plain, *family.answers)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=family.begin, eos_token=family.controls[-1])
    text = template or ((TEMPLATES / family.template).read_text("utf-8") if family.template else "")
    if text:
        fast.chat_template = text
    fast.save_pretrained(folder)
    return fast


def write_model(folder: Path, tokenizer: Any, steps: dict[int, dict[int, float]]) -> None:
    """Write a model that goes from token to token.

    Args:
        folder: Where to.
        tokenizer: Its tokenizer.
        steps: For each token, those that may follow, each with a weight of about 1; a weight that is higher by 0.01
            makes a token about twice as likely.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=8192, initializer_range=1.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        vectors = model.model.embed_tokens.weight
        vectors /= vectors.norm(dim=-1, keepdim=True) / 8.0
        for token, following in steps.items():
            for after, weight in following.items():
                model.lm_head.weight[after] += weight * vectors[token]
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)


def token(tokenizer: Any, text: str) -> int:
    """Return the id of a text that is one token."""
    [found] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return int(found)


def last(tokenizer: Any, text: str) -> int:
    """Return the id of a text's last token."""
    return int(tokenizer(text, add_special_tokens=False)["input_ids"][-1])


def write_guard(kind: str, folder: Path, verdict: str = "unsafe") -> Path:
    """Write a guard that says the same about every text, and return its folder."""
    tokenizer = write_tokenizer(kind, folder)
    end, unsafe = tokenizer.eos_token_id, verdict == "unsafe"
    if kind == "qwen3guard":
        words = (" Unsafe", " Safe") if unsafe else (" Safe", " Unsafe")
        third = tokenizer(" Controversial", add_special_tokens=False)["input_ids"][0]
        rest = token(tokenizer, UNSAFE_REST if unsafe else SAFE_REST)
        likely, other = (token(tokenizer, word) for word in words)
        steps = {
            last(tokenizer, "Safety:"): {likely: 1.0, other: 0.96, third: 0.97}, likely: {rest: 1.0}, rest: {end: 1.0},
        }
    elif kind.startswith("granite"):
        likely, other = (token(tokenizer, word) for word in ((" yes", " no") if unsafe else (" no", " yes")))
        steps = {last(tokenizer, "<score>"): {likely: 1.0, other: 0.97}}
    elif kind == "gpt-oss-safeguard":
        vote = token(tokenizer, VOTES[unsafe])
        steps = {last(tokenizer, "<|start|>assistant"): {vote: 1.0}, vote: {end: 1.0}}
    elif kind == "polyguard":
        lines = token(tokenizer, FIVE_LINES[unsafe])
        steps = {last(tokenizer, "<|im_start|>assistant\n"): {lines: 1.0}, lines: {end: 1.0}}
    else:
        likely, other = (token(tokenizer, word) for word in (("unsafe", "safe") if unsafe else ("safe", "unsafe")))
        named = token(tokenizer, 'Violence, Threat"}')
        # the same quotation mark stands before a rating and before the list of categories
        steps = {last(tokenizer, ': "'): {likely: 1.0, other: 0.97, named: 0.9}, named: {end: 1.0}}
    write_model(folder, tokenizer, steps)
    return folder
