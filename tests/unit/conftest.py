"""Tiny students of the structures that training and serving have to get right: real tokenizers, random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from registry_runs import World

# As Qwen3's: a thought is dropped from every assistant turn that is not the last.
QWEN = (
    "{%- for message in messages -%}{%- set content = message['content'] -%}"
    "{%- if message['role'] == 'assistant' and not loop.last -%}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') -%}{%- endif -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
# As R1-Distill's: a thought is dropped from every assistant turn, and the prompt ends inside a new one.
R1 = (
    "{{ bos_token }}{%- for message in messages -%}{%- if message['role'] == 'user' -%}"
    "{{ '<|User|>' + message['content'] }}{%- else -%}"
    "{{ '<|Assistant|>' + message['content'].split('</think>')[-1] + '<|end_of_sentence|>' }}{%- endif -%}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|Assistant|><think>\\n' }}{%- endif -%}"
)
# As Llama-3's: turns end with a token that is not the tokenizer's end of sequence; no think tags.
LLAMA = (
    "{{ bos_token }}{%- for message in messages -%}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}"
)
# kind: template, bos, eos, further special tokens, ordinary added tokens, ids of the generation config's eos
KINDS: dict[str, tuple[str, str, str, list[str], list[str], list[str]]] = {
    "qwen": (QWEN, "", "<|im_end|>", ["<|im_start|>"], ["<think>", "</think>"], ["<|im_end|>", "<|endoftext|>"]),
    "r1": (
        R1, "<|begin_of_sentence|>", "<|end_of_sentence|>", ["<|User|>", "<|Assistant|>"],
        ["<think>", "</think>"], ["<|end_of_sentence|>"],
    ),
    "llama": (
        LLAMA, "<|begin_of_text|>", "<|end_of_text|>",
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], [], ["<|end_of_text|>", "<|eot_id|>"],
    ),
}


def _tokenizer(kind: str) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    template, bos, eos, special, added, _ = KINDS[kind]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    corpus = ["how many apples does Tom have?", "I cannot help with that request.", "the answer is 12.\n\n"]
    backend.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    )
    backend.add_tokens([AddedToken(token, normalized=False) for token in added])
    names = {"eos_token": eos, "pad_token": "<|endoftext|>"} | ({"bos_token": bos} if bos else {})
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, extra_special_tokens=special, clean_up_tokenization_spaces=False, **names
    )
    if bos:  # puts a BOS in front of every text, as Llama's does: rendering must not get a second one
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )
    tokenizer.chat_template = template
    return tokenizer


def build_student(kind: str, folder: Path) -> Path:
    """Write a Qwen3 model of 25,000 random float32 weights and a tokenizer of a kind into a folder."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = _tokenizer(kind)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
                tie_word_embeddings=True, initializer_range=0.1, dtype="float32", bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            )
        )
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(KINDS[kind][5])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a kind (``qwen``, ``r1``, ``llama``) to its folder; not to be written to."""
    built: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in built:
            built[kind] = build_student(kind, tmp_path_factory.mktemp("students") / kind)
        return built[kind]

    return folder


@pytest.fixture
def world(mlflow_tables: Path, tmp_path: Path) -> World:
    """Runs of one registered model, with a store and an MLflow database of their own."""
    import shutil

    from registry_runs import World

    shutil.copy(mlflow_tables, tmp_path / "mlflow.db")
    return World(tmp_path)
