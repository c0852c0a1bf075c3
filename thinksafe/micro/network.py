"""The students' network and its training: a tiny Qwen3 model, taught on response tokens only."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from thinksafe.micro.curriculum import Row

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

__all__ = ["BATCH_SIZE", "new_network", "train"]

BATCH_SIZE = 16
_IGNORED = -100
_BUCKET_BATCHES = 32

Encoded = tuple[list[int], list[int]]


def new_network(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """Return an untrained student with weights drawn from `seed`."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return Qwen3ForCausalLM(config)  # type: ignore[no-untyped-call]


def _encode(tokenizer: PreTrainedTokenizerFast, rows: Sequence[Row]) -> list[Encoded]:
    encoded = []
    for row in rows:
        user = {"role": "user", "content": row.prompt}
        turns = [user, {"role": "assistant", "content": row.response}]
        opening = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        ids: list[int] = tokenizer(whole)["input_ids"]
        prompt_length = len(tokenizer(opening)["input_ids"])
        encoded.append((ids, [_IGNORED] * prompt_length + ids[prompt_length:]))
    return encoded


def _batches(encoded: list[Encoded], pad: int, rng: random.Random) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Group rows of similar length, so that batches have little padding, and shuffle the batches of each group."""
    import torch

    batches = []
    group = BATCH_SIZE * _BUCKET_BATCHES
    for start in range(0, len(encoded), group):
        rows = sorted(encoded[start : start + group], key=lambda row: len(row[0]))
        grouped = [rows[place : place + BATCH_SIZE] for place in range(0, len(rows), BATCH_SIZE)]
        rng.shuffle(grouped)
        for batch in grouped:
            width = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in batch])
            labels = torch.tensor([labels + [_IGNORED] * (width - len(labels)) for _, labels in batch])
            batches.append((ids, labels))
    return batches


def train(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Row],
    learning_rate: float,
    seed: int,
    progress: Callable[[int, int, float], None],
) -> None:
    """Train `model` in place, one pass over `rows` in batches of `BATCH_SIZE`.

    AdamW with 5 % warm-up and a cosine down to 5 % of `learning_rate`; only response tokens, the end of sequence
    included, carry loss. `progress` receives the step from 1, the number of steps and the batch's loss (nats per
    token).
    """
    import math

    import torch

    batches = _batches(_encode(tokenizer, rows), int(tokenizer.pad_token_id), random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    warmup = max(1, len(batches) // 20)

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - warmup) / max(1, len(batches) - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    model.train()
    for step, (ids, labels) in enumerate(batches, start=1):
        # Right padding needs no mask: a causal model never looks at what comes after, and padding carries no loss.
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        kept = targets != _IGNORED
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[kept]), targets[kept])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress(step, len(batches), float(loss.detach()))
    model.eval()  # type: ignore[no-untyped-call]
