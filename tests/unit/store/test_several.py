"""Several requests at a time: the order of the results, their number at a time, and errors."""

from __future__ import annotations

import threading

import pytest

from thinksafe.store.several import WORKERS, several


def test_results_are_in_the_order_of_the_items() -> None:
    assert several(str, range(100)) == [str(number) for number in range(100)]
    assert several(str, iter(())) == []


@pytest.mark.parametrize(("items", "workers", "most"), [(2, WORKERS, 2), (40, WORKERS, WORKERS), (40, 3, 3), (5, 1, 1)])
def test_so_many_are_asked_at_a_time(items: int, workers: int, most: int) -> None:
    meeting = threading.Barrier(most)  # breaks unless so many come at a time
    first = iter(range(most))

    def work(_: int) -> None:
        if next(first, None) is not None:
            meeting.wait(10)

    several(work, range(items), workers)


def test_no_thread_is_started_for_one() -> None:
    (ran,) = several(lambda _: threading.current_thread(), [1])
    assert ran is threading.current_thread()
    assert set(several(lambda _: threading.current_thread(), range(9), workers=1)) == {ran}


def test_the_error_of_the_first_item_that_failed_is_raised() -> None:
    def work(number: int) -> int:
        if number > 2:
            raise ValueError(number)
        return number

    with pytest.raises(ValueError, match=r"^3$"):
        several(work, range(50))


def test_as_many_at_a_time_as_boto3_keeps_connections() -> None:
    from botocore.config import Config

    assert Config().max_pool_connections in (None, WORKERS)
