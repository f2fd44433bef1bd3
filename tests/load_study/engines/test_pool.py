"""Engines that really run: processes, a thread. The subject is a delay of known length, so nothing heavy is loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from load_study.engines.in_process import InProcess
from load_study.engines.pool import EnginePool
from load_study.engines.simulated import QUEUE_FULL
from load_study.subjects import Subject
from load_study.traffic import arrivals, sizes
from load_study.traffic.clock import RealClock
from load_study.traffic.generator import closed_loop, generate
from load_study.traffic.queries import Query, Target
from tests.conftest import ROOT
from tests.load_study.quiet import on_a_quiet_machine

DELAY = Subject(model="delay:20", engine="none")
ONE = sizes.fixed(1, 1)


class Answers:
    """Collects what comes back."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float, str | None]] = []
        self._changed = threading.Condition()

    def __call__(self, query: Query, finished: float, error: str | None) -> None:
        with self._changed:
            self.found.append((query.number, finished, error))
            self._changed.notify_all()

    def wait(self, count: int) -> list[tuple[int, float, str | None]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.found) >= count, timeout=30)
            return list(self.found)


@pytest.fixture(scope="module")
def pair() -> Iterator[EnginePool]:
    with EnginePool(DELAY, engines=2, largest=1) as pool:
        yield pool


def ask(target: Target, count: int) -> list[tuple[int, float, str | None]]:
    answers, start = Answers(), time.perf_counter()
    for number in range(count):
        target.submit(Query(number, start, 1), answers)
    return [(n, finished - start, error) for n, finished, error in answers.wait(count)]


def test_two_engines_work_at_the_same_time_and_in_order(pair: EnginePool) -> None:
    def check() -> None:
        found = ask(pair, 6)
        assert [error for _, _, error in found] == [None] * 6
        assert sorted(n for n, _, _ in found[:2]) == [0, 1]
        assert sorted(n for n, _, _ in found[-2:]) == [4, 5]
        last = max(seconds for _, seconds, _ in found)
        assert 0.06 <= last < 0.11  # three rounds of two; one engine would take 0.12

    on_a_quiet_machine(check)


def test_settled_means_nothing_is_under_way(pair: EnginePool) -> None:
    answers = Answers()
    for number in range(3):
        pair.submit(Query(number, 0.0, 1), answers)
    pair.settle()
    assert len(answers.found) == 3


def test_a_stop_is_seen_by_the_open_loop_and_hidden_by_the_closed(pair: EnginePool) -> None:
    """Engines stopped for a second of three: a third of what was due in the open loop waited."""

    def stalled(loop: str) -> np.ndarray:
        clock = RealClock()
        pair.stall(clock, clock.now() + 1.0, 1.0)
        if loop == "closed":
            load = closed_loop(clock, pair, ONE, workers=1, duration=3.0)
        else:
            load = generate(clock, pair, arrivals.constant(20.0), ONE, duration=3.0)
        pair.settle()
        assert load.queries == load.answered
        return load.latencies.seconds

    def check() -> None:
        opened, closed = stalled("open"), stalled("closed")
        assert 0.85 < opened.max() < 1.5
        assert (opened > 0.1).mean() > 0.2
        assert closed.max() > 0.85
        assert (closed > 0.1).sum() <= 2  # the one query that was under way, whatever the stop

    on_a_quiet_machine(check, tries=3)


def test_an_answered_query_makes_room_for_the_next_and_is_not_settled_before_its_callback() -> None:
    """The queue is full until the answer comes; the callback sends the next query, which was refused."""
    with EnginePool(replace(DELAY, model="delay:1"), engines=1, largest=1, queue_limit=0) as pool:
        answers, slow = Answers(), threading.Event()

        def answered(query: Query, finished: float, error: str | None) -> None:
            pool.submit(Query(1, 0.0, 1), answers)
            slow.wait(0.2)
            answers(query, finished, error)

        pool.submit(Query(0, 0.0, 1), answered)
        pool.settle()
        assert [(number, error) for number, _, error in answers.found] == [(0, None), (1, None)]


PARENT = """
import time
from load_study.engines.pool import EnginePool
from load_study.subjects import Subject
if __name__ == "__main__":
    pool = EnginePool(Subject(model="delay:20", engine="none"), engines=1, largest=1)
    print(pool._processes[0].pid, flush=True)
    time.sleep(60)
"""


def test_engines_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "parent.py"
    file.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(file)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    engine = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30
    while psutil.pid_exists(engine) and psutil.Process(engine).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "the engine waits for queries without a parent"
        time.sleep(0.05)


def test_a_full_queue_refuses_at_once() -> None:
    with EnginePool(DELAY, engines=1, largest=1, queue_limit=2) as pool:

        def check() -> None:
            found = ask(pool, 5)
            refused = [n for n, _, error in found if error == QUEUE_FULL]
            assert refused == [3, 4]  # one is answered, two wait
            assert sorted(n for n, _, error in found if error is None) == [0, 1, 2]

        on_a_quiet_machine(check)


def test_a_dead_engine_fails_what_is_under_way_and_all_that_comes() -> None:
    with EnginePool(replace(DELAY, model="delay:5000"), engines=1, largest=1, warm_up_sizes=()) as pool:
        answers = Answers()
        pool.submit(Query(0, 0.0, 1), answers)
        time.sleep(0.2)
        os.kill(pool._processes[0].pid, signal.SIGKILL)
        assert [error for _, _, error in answers.wait(1)] == ["an engine process died"]
        pool.submit(Query(1, 0.0, 1), answers)
        assert answers.wait(2)[1][2] == "an engine process died"
        pool.settle()


def test_an_engine_that_cannot_start_says_why() -> None:
    subject = Subject(model="nothing", engine="onnx-fp32")
    with pytest.raises(RuntimeError, match="an engine could not start: KeyError: 'nothing'"):
        EnginePool(subject, engines=1, largest=1)


def test_a_thread_of_this_process_answers_in_order() -> None:
    with InProcess(DELAY, largest=1) as engine:
        found = ask(engine, 3)
    assert [n for n, _, _ in found] == [0, 1, 2]
    assert found[-1][1] >= 0.06


def test_a_settled_thread_has_answered_what_it_was_computing() -> None:
    """It waited for an empty queue only: the request under way counted in the next window."""
    with InProcess(DELAY, largest=1) as engine:
        answers = Answers()
        engine.submit(Query(0, 0.0, 1), answers)
        engine.settle()
        assert len(answers.found) == 1
