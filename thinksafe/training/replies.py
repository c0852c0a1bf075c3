"""Responses of the original student to training prompts, on which drift is measured if training has no responses.

They are sampled at temperature 1, with the adapter switched off or before all weights are trained, so that the mean
over their tokens estimates KL(student || candidate) without bias, and the student's negative log-likelihood is its own
entropy. Cut responses count as far as they go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thinksafe.digests import derived_seed
from thinksafe.models.loading import end_tokens
from thinksafe.training.data import IGNORED, Row
from thinksafe.training.drift import chosen
from thinksafe.training.logits import as_reference, student_of

PROMPTS = 32
"""Maximum number of prompts per label: each costs a response."""
TOKENS = 512
"""Maximum tokens of a response."""
BATCH = 16
"""Prompts that are sampled together."""


def replies(model: Any, tokenizer: Any, rows: Sequence[Row], seed: int, tokens: int) -> list[Row]:
    """Return rows with the responses of the original student to a seeded choice of prompts, in the order of their ids.

    Args:
        model: PEFT model around the student, or the student itself before it is trained.
        tokenizer: The served tokenizer; not changed.
        rows: Encoded prompts (``Row.prompt``).
        seed: Of the choice and of sampling.
        tokens: Limit of new tokens of the training; at most ``TOKENS`` are sampled.
    """
    import torch
    from transformers import GenerationConfig

    inner = student_of(model)
    ends = end_tokens(inner, tokenizer, "the student")
    # the publisher's settings there (a repetition penalty, beams) would change what is sampled
    own, pad = inner.generation_config, min(ends)
    inner.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    found: list[Row] = []
    asked = chosen(rows, seed, PROMPTS)
    torch.manual_seed(derived_seed(seed, "replies"))
    with as_reference(model):
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            width = max(len(row.input_ids) for row in batch)
            ids = torch.tensor([[pad] * (width - len(row.input_ids)) + row.input_ids for row in batch])
            mask = torch.tensor([[0] * (width - len(row.input_ids)) + [1] * len(row.input_ids) for row in batch])
            device = next(model.parameters()).device
            written = model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=min(tokens, TOKENS),
                do_sample=True, temperature=1.0, top_p=1.0, top_k=0, eos_token_id=sorted(ends), pad_token_id=pad,
            )[:, width:].tolist()
            found += [_with(row, new, ends) for row, new in zip(batch, written, strict=True)]
    inner.generation_config = own
    return found


def _with(row: Row, new: list[int], ends: frozenset[int]) -> Row:
    end = next((place + 1 for place, token in enumerate(new) if token in ends), len(new))
    response = new[:end]
    return Row(row.id, row.input_ids + response, [IGNORED] * len(row.input_ids) + response, row.label, row.prompt)
