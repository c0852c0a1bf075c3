from __future__ import annotations

import pytest

from thinksafe.config.model import TrainingSettings
from thinksafe.config.shape import gpus_of, shape_of


def training(**given: object) -> TrainingSettings:
    return TrainingSettings.model_validate({"batch_size": 12, "micro_batch_size": 4, **given})


@pytest.mark.parametrize(("processes", "micro"), [(1, 4), (2, 2), (3, 4), (4, 1), (6, 2), (12, 1)])
def test_rows_of_a_pass_divide_a_processs_share_of_the_batch(processes: int, micro: int) -> None:
    shape = shape_of(training(processes=processes))
    assert (shape.world, shape.micro, shape.rows) == (processes, micro, 12 // processes)
    assert shape.accumulation * shape.micro * shape.world == 12


def test_visible_gpus_settle_what_the_settings_leave_open() -> None:
    assert shape_of(training()).processes == 1
    assert shape_of(training(), gpus=3).processes == 3
    assert shape_of(training(processes=2), gpus=3).processes == 2
    assert shape_of(training(processes=2, nodes=3)).world == 6


@pytest.mark.parametrize(("given", "gpus", "words"), [
    ({"processes": 4}, 2, "there are 2 GPUs"), ({}, 5, "not a multiple of the GPUs, 5"),
    ({"strategy": "fsdp"}, 1, "there is only one"), ({"strategy": "fsdp"}, 0, "there is only one"),
])
def test_what_cannot_be_shared_out_is_refused(given: dict[str, object], gpus: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shape_of(training(**given), gpus)


def test_a_pod_asks_for_a_gpu_for_each_process() -> None:
    assert [gpus_of(training(**given), 4) for given in ({}, {"processes": 3}, {"strategy": "fsdp"})] == [1, 3, 4]
    assert gpus_of(training(strategy="fsdp"), 1) == 2
