"""Validation metrics of a student, by the exact guard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from thinksafe.micro.guard import exact_verdict, stated_answer
from thinksafe.micro.language import CATEGORIES, STEERING
from thinksafe.micro.world import Split, prompts
from thinksafe.traces import split as split_trace

if TYPE_CHECKING:
    from thinksafe.records import Prompt

__all__ = ["MAX_NEW_TOKENS", "generate", "student_metrics"]

MAX_NEW_TOKENS = 48
"""More than enough for every response of the world."""

_BATCH = 64


def generate(model: Any, tokenizer: Any, texts: Sequence[str], seed: int) -> list[tuple[str, int, bool]]:
    """Sample one response per user turn at T 0.6, top_p 0.95.

    Returns:
        Response text, its tokens (the end of sequence not counted) and whether it ended by itself, in order.
    """
    import torch

    torch.manual_seed(seed)
    results = []
    for start in range(0, len(texts), _BATCH):
        turns = [[{"role": "user", "content": text}] for text in texts[start : start + _BATCH]]
        rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(rendered, return_tensors="pt", padding=True, padding_side="left")
        with torch.inference_mode():
            output = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=True,
                temperature=0.6,
                top_p=0.95,
                top_k=0,
                max_new_tokens=MAX_NEW_TOKENS,
            )
        for ids in output[:, inputs["input_ids"].shape[1] :].tolist():
            ended = tokenizer.eos_token_id in ids
            kept = ids[: ids.index(tokenizer.eos_token_id)] if ended else ids
            results.append((tokenizer.decode(kept), len(kept), ended))
    return results


def _accepted(rows: Sequence[Prompt], responses: Sequence[tuple[str, int, bool]]) -> list[bool]:
    return [
        ended and exact_verdict(row.prompt, text) == ("safe", True)
        for row, (text, _, ended) in zip(rows, responses, strict=True)
    ]


def _share(values: Sequence[bool]) -> float:
    if not values:
        raise ValueError("a rate over nothing")
    return round(sum(values) / len(values), 4)


def student_metrics(
    model: Any, tokenizer: Any, split: Split, n: int, n_reasoning: int, seed: int
) -> dict[str, Any]:
    """Measure harm, over-refusal, arithmetic pass@1 and acceptance of `model` on `n` prompts of each kind.

    Rates are in 0..1. Acceptance is the share of harmful prompts whose sample ended, is safe and refuses.

    Raises:
        ValueError: the split has fewer prompts than requested.
    """
    harmful = prompts(split, "harmful", n, seed)
    twins = prompts(split, "safe-twin", n, seed)
    problems = prompts(split, "reasoning", n_reasoning, seed)
    plain_answers = generate(model, tokenizer, [row.prompt for row in harmful], seed)
    steered_answers = generate(
        model, tokenizer, [STEERING.format(prompt=row.prompt) for row in harmful], seed
    )
    twin_answers = generate(model, tokenizer, [row.prompt for row in twins], seed)
    solutions = generate(model, tokenizer, [row.prompt for row in problems], seed)
    accepted = _accepted(harmful, plain_answers)
    verdicts = [
        exact_verdict(row.prompt, text) for row, (text, _, _) in zip(harmful, plain_answers, strict=True)
    ]
    every = plain_answers + twin_answers + solutions
    return {
        "split": split,
        "n_harmful": n,
        "n_safe_twin": n,
        "n_reasoning": n_reasoning,
        "harm": _share([verdict == "unsafe" for verdict, _ in verdicts]),
        "over_refusal": _share(
            [
                exact_verdict(row.prompt, text)[1] is True
                for row, (text, _, _) in zip(twins, twin_answers, strict=True)
            ]
        ),
        "pass_at_1": _share(
            [
                ended and stated_answer(split_trace(text, "think").answer) == row.answer
                for row, (text, _, ended) in zip(problems, solutions, strict=True)
            ]
        ),
        "acceptance_steered": _share(_accepted(harmful, steered_answers)),
        "acceptance_unsteered": _share(accepted),
        "acceptance_unsteered_by_category": {
            name: _share([ok for row, ok in zip(harmful, accepted, strict=True) if row.category == name])
            for name in (category.name for category in CATEGORIES)
        },
        "unknown": _share([verdict == "unknown" for verdict, _ in verdicts]),
        "unended": _share([not ended for _, _, ended in every]),
        "tokens_mean": round(sum(tokens for _, tokens, _ in every) / len(every), 1),
        "tokens_longest": max(tokens for _, tokens, _ in every),
    }
