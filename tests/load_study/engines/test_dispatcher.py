"""Large queries in parts, and whole to the accelerator."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_study.engines.dispatcher import Dispatcher, even_parts
from load_study.engines.simulated import SimulatedPool
from load_study.traffic.clock import VirtualClock
from load_study.traffic.queries import AnswerCallback, Query


class Kept:
    """Keeps what it is given, for the test to answer."""

    is_simulated = False

    def __init__(self) -> None:
        self.given: list[tuple[Query, AnswerCallback]] = []

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        self.given.append((query, on_answer))

    def answer(self, place: int, finished: float, error: str | None = None) -> None:
        query, on_answer = self.given[place]
        on_answer(query, finished, error)


Seen = list[tuple[Query, float, "str | None"]]


def _note(seen: Seen) -> AnswerCallback:
    return lambda query, finished, error: seen.append((query, finished, error))


@pytest.mark.parametrize("size, most, parts", [
    (1, 16, [1]), (16, 16, [16]), (17, 16, [9, 8]), (100, 32, [25, 25, 25, 25]), (101, 32, [26, 25, 25, 25]),
    (5, 1, [1, 1, 1, 1, 1]),
])  # fmt: skip
def test_parts(size: int, most: int, parts: list[int]) -> None:
    assert even_parts(size, most) == parts


@given(st.integers(1, 5000), st.integers(1, 600))
def test_parts_are_few_and_even(size: int, most: int) -> None:
    parts = even_parts(size, most)
    assert sum(parts) == size
    assert max(parts) <= most
    assert max(parts) - min(parts) <= 1
    assert (len(parts) - 1) * most < size


def test_done_at_the_last_part() -> None:
    pool, seen = Kept(), Seen()
    whole = Query(7, 1.0, 10)
    Dispatcher(pool, split=4).submit(whole, _note(seen))
    assert [query for query, _ in pool.given] == [Query(7, 1.0, 4, 0), Query(7, 1.0, 3, 1), Query(7, 1.0, 3, 2)]
    pool.answer(1, 9.0)  # the largest time is not the last to be told
    pool.answer(0, 5.0)
    assert not seen
    pool.answer(2, 6.0)
    assert seen == [(whole, 9.0, None)]


def test_an_error_of_any_part_is_the_querys() -> None:
    pool, seen = Kept(), Seen()
    whole = Query(0, 0.0, 3)
    Dispatcher(pool, split=1).submit(whole, _note(seen))
    pool.answer(2, 1.0, "first told")
    pool.answer(0, 2.0, "second told")
    pool.answer(1, 3.0)
    assert seen == [(whole, 3.0, "first told")]


def test_larger_than_the_limit_goes_whole_to_the_accelerator() -> None:
    pool, accelerator, seen = Kept(), Kept(), Seen()
    dispatcher = Dispatcher(pool, split=16, accelerator=accelerator, offload_above=64)
    for number, size in enumerate((64, 65)):
        dispatcher.submit(Query(number, 0.0, size), _note(seen))
    assert [query.size for query, _ in pool.given] == [16, 16, 16, 16]
    assert [query for query, _ in accelerator.given] == [Query(1, 0.0, 65)]
    accelerator.answer(0, 4.0)
    assert seen == [(Query(1, 0.0, 65), 4.0, None)]


def test_parts_are_served_side_by_side() -> None:
    clock, seen = VirtualClock(), Seen()
    pool = SimulatedPool(clock, 4, lambda size: size / 10)
    Dispatcher(pool, split=25).submit(Query(0, 0.0, 100), _note(seen))
    clock.run_all()
    assert [(finished, error) for _, finished, error in seen] == [(2.5, None)]


def test_what_is_partly_simulated_is_simulated() -> None:
    pool = SimulatedPool(VirtualClock(), 1, float)
    assert not Dispatcher(Kept(), split=1).is_simulated
    assert Dispatcher(pool, split=1).is_simulated
    assert Dispatcher(Kept(), split=1, accelerator=pool, offload_above=9).is_simulated


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="split is 0, expected at least 1"):
        Dispatcher(Kept(), split=0)
    with pytest.raises(ValueError, match="accelerator is None and offload_above 5, expected both or neither"):
        Dispatcher(Kept(), split=1, offload_above=5)
    with pytest.raises(ValueError, match="offload_above None, expected both or neither"):
        Dispatcher(Kept(), split=1, accelerator=Kept())
