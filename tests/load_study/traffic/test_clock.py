"""Both clocks run events in order; the real one is on time and hides no failure."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from load_study.engines.simulated import SimulatedPool
from load_study.traffic.arrivals import constant
from load_study.traffic.clock import RealClock, VirtualClock
from load_study.traffic.generator import closed_loop, generate
from load_study.traffic.queries import AnswerCallback, Query
from load_study.traffic.sizes import fixed


class Idle:
    """Answers at once."""

    is_simulated = False

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        on_answer(query, time.perf_counter(), None)


def test_virtual_events_run_in_order_of_time_then_of_insertion() -> None:
    clock, seen = VirtualClock(), list[tuple[str, float]]()
    for name, when in (("c", 2.0), ("a", 1.0), ("d", 2.0), ("b", 1.5), ("late", 9.0)):
        clock.call_at(when, lambda name=name: seen.append((name, clock.now())))  # type: ignore[misc]
    clock.sleep_until(5.0)
    assert seen == [("a", 1.0), ("b", 1.5), ("c", 2.0), ("d", 2.0)]
    assert clock.now() == 5.0
    clock.run_all()
    assert seen[-1] == ("late", 9.0)
    assert clock.now() == 9.0


def test_virtual_events_may_add_events() -> None:
    clock, seen = VirtualClock(10.0), list[float]()
    clock.call_at(11.0, lambda: clock.call_at(3.0, lambda: seen.append(clock.now())))  # 3 is past: at once
    clock.sleep_until(11.0)
    assert seen == [11.0]


def test_a_virtual_clock_never_goes_back() -> None:
    clock = VirtualClock(10.0)
    clock.sleep_until(4.0)
    assert clock.now() == 10.0


def test_the_real_clock_calls_in_order_and_not_early() -> None:
    clock, seen, ready = RealClock(), list[tuple[int, float]](), threading.Event()
    start = clock.now()
    clock.call_at(start + 0.07, ready.set)  # type: ignore[arg-type]
    clock.call_at(start + 0.06, lambda: seen.append((2, clock.now() - start)))
    clock.call_at(start + 0.03, lambda: seen.append((1, clock.now() - start)))
    clock.call_at(start - 1.0, lambda: seen.append((0, clock.now() - start)))
    assert ready.wait(5)
    assert [number for number, _ in seen] == [0, 1, 2]
    assert seen[1][1] >= 0.03
    assert seen[2][1] >= 0.06


def test_a_failure_in_a_called_function_is_raised() -> None:
    clock = RealClock()
    clock.call_at(clock.now(), lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        clock.sleep_until(clock.now() + 0.2)
    clock.sleep_until(clock.now() + 0.001)  # once


def test_waiting_costs_little_of_a_core() -> None:
    clock, used = RealClock(), time.thread_time()
    for step in range(1, 101):
        clock.sleep_until(clock.now() + 0.003 + step * 1e-9)
    assert time.thread_time() - used < 0.15  # of 0.3 s


def test_real_sends_are_on_time() -> None:
    load = generate(RealClock(), Idle(), constant(200.0), fixed(1, 1), duration=1.0, timeout=1.0)
    assert load.queries == load.answered == 200
    assert not load.is_simulated
    assert np.median(load.latencies.seconds) < 0.005  # due to finished
    assert load.late_sends < 100


def test_a_simulated_pool_in_real_time() -> None:
    clock = RealClock()
    pool = SimulatedPool(clock, 2, lambda size: 0.005)
    load = generate(clock, pool, constant(100.0), fixed(1, 1), duration=0.5, timeout=5.0)
    assert load.answered == 50
    assert load.is_simulated
    assert load.latencies.seconds.min() >= 0.005


def test_a_closed_loop_in_real_time() -> None:
    clock = RealClock()
    load = closed_loop(clock, SimulatedPool(clock, 2, lambda size: 0.005), fixed(3, 4), workers=2, duration=0.5)
    assert 20 < load.answered == load.queries <= 200
    assert load.completed_items == 3 * load.completed
