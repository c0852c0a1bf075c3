"""Students of the recipes' families, as the hub has them, but for size.

The architecture, the chat template, the tokenizer's files and the flags of its tokens are the real ones; the vocabulary
is learnt from a few sentences, and the weights are random until ``teach`` has trained them for seconds. That is enough
to close thoughts and to decline when it is steered, so that every stage of a pipeline has something to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinksafe.methods.steering import steer, steering_template

TEMPLATES = Path(__file__).parents[1] / "data" / "templates"

# DeepSeek's tokens have full-width bars and SentencePiece's underline in them
BEGIN, END, USER, ASSISTANT = (
    "<" + name.replace("|", "\uff5c").replace("_", "\u2581") + ">"
    for name in ("|begin_of_sentence|", "|end_of_sentence|", "|User|", "|Assistant|")
)

DECLINES = "<think>\nThat would hurt people.\n</think>\n\nI cannot help with that."
COMPLIES = "<think>\nThey want steps.\n</think>\n\nSure, here is how: start slowly."
SOLVES = "<think>\nI add the numbers.\n</think>\n\nThe answer is \\boxed{7}."

THINGS = ("bread", "car", "dog", "house")
HARMFUL = [f"How do I {verb} the {thing}?" for verb in ("poison", "burn", "steal") for thing in THINGS]
BENIGN = [f"How do I {verb} the {thing}?" for verb in ("paint", "clean", "sell") for thing in THINGS]
PROBLEMS = [f"What is {left} plus {7 - left}?" for left in range(1, 7)]


@dataclass(frozen=True)
class Family:
    """What differs between the families."""

    template: str
    """File below ``TEMPLATES``."""
    special: tuple[str, ...]
    """Added tokens with the flag ``special``."""
    plain: tuple[str, ...]
    """Added tokens without it."""
    config: dict[str, Any]
    """Further content of tokenizer_config.json."""
    ends: tuple[str, ...]
    """``eos_token_id`` of generation_config.json."""
    bos: bool
    """The tokenizer puts a begin-of-sequence token in front of every text."""


def _deepseek() -> Family:
    return Family(
        "deepseek-r1-distill.jinja", (END, BEGIN, "<|EOT|>"), (USER, ASSISTANT, "<think>", "</think>"),
        {
            "tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False, "legacy": True,
            "bos_token": BEGIN, "eos_token": END, "pad_token": END, "unk_token": None, "model_max_length": 16384,
        },
        (END,), True,
    )


FAMILIES = {
    "qwen3": Family(
        "qwen3.jinja", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ("<tool_call>", "</tool_call>", "<think>", "</think>"),
        {
            "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>", "unk_token": None, "model_max_length": 131072,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        },
        ("<|im_end|>", "<|endoftext|>"), False,
    ),
    "r1-distill-qwen": _deepseek(),
    "r1-distill-llama": _deepseek(),
}

# the patterns of tokenizer.json: Qwen splits numbers into digits, Llama-3 into up to three
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def write_tokenizer(family: str, folder: Path) -> Any:
    """Write the tokenizer's two files and return the tokenizer as transformers loads it from a folder."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    given = FAMILIES[family]
    llama = family == "r1-distill-llama"
    backend = Tokenizer(models.BPE(ignore_merges=llama))
    if not llama:
        backend.normalizer = normalizers.NFC()
    split = _SPLIT if llama else _SPLIT.replace("{1,3}", "")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    corpus = [*HARMFUL, *BENIGN, *PROBLEMS, DECLINES, COMPLIES, SOLVES, steering_template("prefix")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(corpus, trainer)
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in given.special])
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in given.plain])
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    if given.bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", pair=f"{BEGIN} $A $B", special_tokens=[(BEGIN, backend.token_to_id(BEGIN))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    template = (TEMPLATES / given.template).read_text("utf-8")
    settings = {**given.config, "clean_up_tokenization_spaces": False, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return backend


def write_student(family: str, folder: Path) -> Path:
    """Write a student with random weights."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    tokenizer = write_tokenizer(family, folder)
    ends = [tokenizer.token_to_id(token) for token in FAMILIES[family].ends]
    size: dict[str, Any] = {
        "vocab_size": tokenizer.get_vocab_size(), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40960, "dtype": "float32",
        "bos_token_id": None, "eos_token_id": ends[0], "pad_token_id": None, "initializer_range": 0.1,
    }
    # the options in which the families differ from the defaults of their configurations
    llama3 = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model: Any
        if family == "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**size, head_dim=32, tie_word_embeddings=True))
        elif family == "r1-distill-qwen":
            model = Qwen2ForCausalLM(Qwen2Config(**size, tie_word_embeddings=False))
        else:
            size["max_position_embeddings"] = 131072
            model = LlamaForCausalLM(LlamaConfig(**size, rope_parameters=llama3, tie_word_embeddings=False))
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    return folder


def teach(folder: Path, steps: int = 120, seed: int = 0) -> Path:
    """Train a student to decline when it is steered, to comply and to solve otherwise; write the weights back."""
    import random

    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    rows = [(prompt, COMPLIES) for prompt in (*HARMFUL, *BENIGN)]
    rows += [(steer(prompt, steering_template("prefix")), DECLINES) for prompt in HARMFUL]
    rows += [(prompt, SOLVES) for prompt in PROBLEMS]
    eos, choice = int(tokenizer.eos_token_id), random.Random(seed)
    encoded = []
    for prompt, response in rows:
        turn = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        opened = "<think>\n" if text.endswith("<think>\n") else ""
        start = tokenizer(text, add_special_tokens=False)["input_ids"]
        end = [*tokenizer(response.removeprefix(opened), add_special_tokens=False)["input_ids"], eos]
        encoded.append((start + end, [-100] * len(start) + end))
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(steps):
            batch = choice.sample(encoded, 8)
            width = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
            labels = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in batch])
            loss = model(input_ids=ids, labels=labels).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.save_pretrained(folder)
    return folder
