"""Which cores the engines and the generator get, and that the running generator keeps to its own."""

from __future__ import annotations

import argparse
import os
import threading

import pytest

from load_study.engines.cores import default_engines, divide_cores, pinned_to, usable_cores
from load_study.options import add_engine_flags
from load_study.subjects import Subject
from load_study.targets import SHARES_ALL, SHARES_CORES, SHARES_NOTHING, running_target

DELAY = Subject(model="delay:1", engine="none")


@pytest.mark.parametrize(
    ("mine", "engines", "each", "of_engines", "generator", "is_shared"),
    [
        ([0, 1], 1, 1, ((0,),), (1,), False),
        ([0, 1], 2, 1, ((0,), (1,)), (0, 1), True),
        ([2, 3, 6, 7], 1, 2, ((2, 3),), (6, 7), False),
        ([2, 3, 6, 7], 3, 1, ((2,), (3,), (6,)), (7,), False),
        ([0, 1], 3, 1, ((0,), (1,), (0,)), (0, 1), True),
        ([5], 1, 2, ((5,),), (5,), True),
    ],
)
def test_engines_come_first_and_the_generator_gets_what_is_left(
    mine: list[int],
    engines: int,
    each: int,
    of_engines: tuple[tuple[int, ...], ...],
    generator: tuple[int, ...],
    is_shared: bool,
) -> None:
    plan = divide_cores(mine, engines, each)
    assert (plan.engines, plan.generator, plan.is_shared) == (of_engines, generator, is_shared)


@pytest.mark.parametrize(("count", "each", "engines"), [(1, 1, 1), (2, 1, 2), (4, 1, 3), (8, 2, 3), (8, 16, 1)])
def test_a_core_stays_free_where_there_are_enough(count: int, each: int, engines: int) -> None:
    assert default_engines(count, each) == engines


def test_all_threads_are_pinned_and_freed_again() -> None:
    mine, stop = usable_cores(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pinned_to(mine[-1:]):
            assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id or 0) == set(mine[-1:])
        assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id or 0) == set(mine)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("target", ["pool", "in-process"])
def test_the_generator_keeps_to_its_cores_and_says_what_it_shares(target: str) -> None:
    parser = argparse.ArgumentParser()
    add_engine_flags(parser)
    args = parser.parse_args(["--target", target, "--engines", "1", "--largest", "1"])
    mine = usable_cores()
    with running_target(DELAY, args) as running:
        own = os.sched_getaffinity(0)
        if target == "in-process":
            assert (own, running.generator) == (set(mine), SHARES_ALL)
        else:
            engine = os.sched_getaffinity(running.target._processes[0].pid)  # type: ignore[attr-defined]
            assert engine == {mine[0]}
            assert own == (set(mine[1:]) or {mine[0]})
            assert running.generator == (SHARES_NOTHING if len(mine) > 1 else SHARES_CORES)
    assert usable_cores() == mine
