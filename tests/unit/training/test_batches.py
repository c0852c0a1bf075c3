from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from thinksafe.training.data import IGNORED, Row

pytestmark = pytest.mark.slow  # the import of TRL

LENGTHS = [(7 * place) % 23 + 3 for place in range(45)]


def order(epoch: int = 0, size: int = 4, multiple: int = 4, seed: int = 1) -> list[int]:
    from thinksafe.training.batches import EpochOrder

    found = EpochOrder(LENGTHS, size, multiple, seed, lambda: epoch)
    listed = list(found)
    assert len(found) == len(listed)
    return listed


def test_an_epoch_holds_each_row_once_and_enough_empty_ones_to_share_out() -> None:
    found = order()
    assert Counter(found) == Counter(range(45)) + Counter({45: 3})
    assert found[45:] == [45] * 3
    assert Counter(order(multiple=1)) == Counter(range(45))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    import random

    import torch

    first = order()
    torch.manual_seed(99)
    random.seed(99)
    assert order() == first
    assert order(multiple=16)[:45] == first[:45]
    assert order(epoch=1) != first
    assert order(seed=2) != first


def passes(found: list[int]) -> list[list[int]]:
    """Return the lengths of the rows of each forward pass."""
    lengths = [LENGTHS[row] for row in found if row < 45]
    return [lengths[at : at + 4] for at in range(0, 45, 4)]


def test_rows_of_like_length_share_a_pass_and_passes_come_in_any_order() -> None:
    def padding(found: list[int]) -> int:
        return sum(len(part) * max(part) - sum(part) for part in passes(found))

    assert padding(order()) < padding(list(range(45))) / 4
    longest = [max(part) for part in passes(order())[:-1]]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)
    assert len(passes(order())[-1]) == 1  # the short one is last, so that steps stay whole


def test_passes_of_one_row_are_in_plain_random_order() -> None:
    assert len({tuple(order(epoch, size=1)[:3]) for epoch in range(20)}) == 20


def rows() -> list[Row]:
    return [
        Row("a", [5, 6, 7, 8], [IGNORED, IGNORED, 7, 8], "benign"),
        Row("b", [9, 10, 11], [IGNORED, 10, 11], "harmful"),
    ]


def test_a_batch_pads_without_loss_and_has_what_the_objective_wants_to_know() -> None:
    from thinksafe.training.batches import Collator, dataset

    def benign(every: list[Row]) -> dict[str, list[Any]]:
        return {"benign": [row.label == "benign" for row in every]}

    batch = Collator(pad_token_id=0)(list(dataset(rows(), benign)))
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [9, 10, 11, 0], [5, 6, 0, 0]]
    assert batch["labels"].tolist() == [
        [IGNORED, IGNORED, 7, 8], [IGNORED, 10, 11, IGNORED], [IGNORED] * 4,
    ]
    assert batch["attention_mask"].tolist() == [[1] * 4, [1, 1, 1, 0], [1, 1, 0, 0]]
    assert batch["benign"].tolist() == [True, False, False]
    assert "benign" not in Collator(pad_token_id=0)(list(dataset(rows(), lambda _: {})))


def test_each_tokens_loss_in_a_padded_batch_is_that_of_its_row_alone(student_folder: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from thinksafe.training.batches import Collator, dataset

    model = AutoModelForCausalLM.from_pretrained(student_folder("qwen")).eval()
    ids = [[(length * 5 + place) % 250 for place in range(length)] for length in LENGTHS if length > 4]
    data = [Row(str(len(row)), row, [IGNORED] * 3 + row[3:], "harmful") for row in ids]

    def losses(batch: dict[str, Any]) -> Any:
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        targets = batch["labels"][:, 1:]
        kind: Any = {"reduction": "none", "ignore_index": IGNORED}
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, **kind)[targets != IGNORED]

    collate, encoded = Collator(pad_token_id=0), list(dataset(data, lambda _: {}))[:-1]
    grouped = [encoded[place] for place in order() if place < len(encoded)]
    for start in range(0, len(grouped), 4):
        together = grouped[start : start + 4]
        alone = torch.cat([losses(collate([row])) for row in together])
        assert torch.allclose(losses(collate(together)), alone, rtol=0, atol=1e-5)
