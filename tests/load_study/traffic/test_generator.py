"""What is counted, on scenarios small enough to count by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from load_study.engines.simulated import QUEUE_FULL, SimulatedPool
from load_study.traffic.arrivals import Arrivals, constant
from load_study.traffic.clock import VirtualClock
from load_study.traffic.generator import closed_loop, generate
from load_study.traffic.queries import AnswerCallback, Query
from load_study.traffic.result import LoadResult
from load_study.traffic.sizes import Sizes, fixed

ONE = fixed(1, 1)


def _at(*times: float) -> Arrivals:
    return lambda seconds: np.array([time for time in times if time < seconds])


def _sized(*sizes: int) -> Sizes:
    return lambda count: np.array(sizes[:count])


class Scripted:
    """Answers query i `script[i]` = (seconds after it came, error), or never if None."""

    is_simulated = False

    def __init__(self, clock: VirtualClock, script: Sequence[tuple[float, str | None] | None]) -> None:
        self.clock, self.script = clock, script

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        answer = self.script[query.number]
        if answer is not None:
            seconds, error = answer
            self.clock.call_at(self.clock.now() + seconds, lambda: on_answer(query, self.clock.now(), error))


def _five(warm_up: float = 0.0) -> LoadResult:
    clock = VirtualClock(100.0)
    pool = SimulatedPool(clock, 1, lambda size: 2.0)
    arrivals, sizes = _at(0, 1, 2, 7, 8), _sized(10, 20, 30, 40, 50)
    return generate(clock, pool, arrivals, sizes, duration=10.0 - warm_up, warm_up=warm_up, timeout=60.0)


def test_five_queries_by_hand() -> None:
    load = _five()
    np.testing.assert_allclose(load.latencies.seconds, [2, 3, 4, 2, 3])  # finished at 2, 4, 6, 9 and 11
    assert (load.queries, load.items, load.answered, load.errors, load.timeouts) == (5, 150, 5, 0, 0)
    assert (load.completed, load.completed_items) == (4, 100)  # the fifth finished after the window, and still counts
    assert (load.outstanding, load.unanswered) == (1, 0)
    assert (load.offered_rate, load.completed_rate, load.completed_items_rate) == (0.5, 0.4, 10.0)
    assert (load.late_sends, load.worst_lateness) == (0, 0.0)
    assert load.loop == "open"
    assert load.is_simulated


def test_warm_up_is_sent_but_not_counted() -> None:
    load = _five(warm_up=1.5)
    np.testing.assert_allclose(load.latencies.seconds, [4, 2, 3])  # they waited behind the warm-up
    assert (load.queries, load.items) == (3, 120)
    assert load.completed == 4  # the window saw the warm-up's answers at 2 and 4
    assert load.duration == 8.5


def test_errors_and_timeouts_stand_apart() -> None:
    script = [(0.1, None), (2.5, "too late"), None, (3.0, None), (2.0, None), (0.1, "no memory"), (0.2, "no memory")]
    clock = VirtualClock()
    load = generate(clock, Scripted(clock, script), constant(1.0), ONE, duration=7.0, timeout=2.0)
    np.testing.assert_allclose(load.latencies.seconds, [0.1, 2.0])  # exactly the timeout is in time
    assert (load.queries, load.answered, load.errors, load.timeouts) == (7, 2, 2, 3)
    assert load.error_texts == {"no memory": 2}
    assert (load.completed, load.unanswered, load.outstanding) == (2, 1, 1)
    assert load.share_within(1.0) == pytest.approx(1 / 7)
    np.testing.assert_allclose(load.of_all.seconds, [0.1, 86400, 86400, 86400, 2.0, 86400, 86400])
    assert load.is_simulated  # the clock is


def test_the_drain_ends_at_the_last_timeout() -> None:
    clock = VirtualClock()
    load = generate(clock, Scripted(clock, [None, None]), _at(0.0, 3.0), ONE, duration=4.0, timeout=5.0)
    assert load.timeouts == load.unanswered == load.outstanding == 2
    assert 8.0 <= clock.now() <= 8.1


def test_answers_after_the_end_are_left_out_silently() -> None:
    clock = VirtualClock()
    load = generate(clock, Scripted(clock, [(50.0, None)]), _at(0.0), ONE, duration=1.0, timeout=1.0)
    clock.run_all()
    assert (load.timeouts, load.answered) == (1, 0)


def test_a_blocking_submit_is_the_senders_lateness_and_hides_nothing() -> None:
    class Blocking(Scripted):
        def submit(self, query: Query, on_answer: AnswerCallback) -> None:
            self.clock.sleep_until(self.clock.now() + 1.5)
            on_answer(query, self.clock.now(), None)

    clock = VirtualClock()
    load = generate(clock, Blocking(clock, []), _at(0, 1, 2), ONE, duration=3.0)
    np.testing.assert_allclose(load.latencies.seconds, [1.5, 2.0, 2.5])
    assert load.late_sends == 2
    assert load.worst_lateness == pytest.approx(1.0)


def test_answering_twice_is_an_error() -> None:
    class Twice(Scripted):
        def submit(self, query: Query, on_answer: AnswerCallback) -> None:
            on_answer(query, self.clock.now(), None)
            on_answer(query, self.clock.now(), None)

    clock = VirtualClock()
    with pytest.raises(RuntimeError, match="query 0 was answered twice"):
        generate(clock, Twice(clock, []), _at(0), ONE, duration=1.0)


def _stalled(is_open: bool) -> LoadResult:
    clock = VirtualClock()
    pool = SimulatedPool(clock, 1, lambda size: 0.001)
    pool.stall(at=5.0, seconds=1.0)
    if is_open:
        return generate(clock, pool, constant(500.0), ONE, duration=10.0)
    return closed_loop(clock, pool, ONE, duration=10.0)


def test_an_open_loop_shows_a_stall_in_full() -> None:
    """The i-th due from its begin on takes 1.001 - 0.001 i seconds; 50 of 5,000 are beyond p99."""
    load = _stalled(is_open=True)
    p99 = load.latencies.quantile(0.99)
    assert p99 is not None
    assert p99.value == pytest.approx(0.951, rel=0.001)
    assert load.latencies.seconds.max() == pytest.approx(1.001)
    assert (load.latencies.seconds > 0.0015).sum() == 1000  # those due in the stall, and in the second of catching up


def test_a_closed_loop_hides_a_stall() -> None:
    load = _stalled(is_open=False)
    p99 = load.latencies.quantile(0.99)
    assert p99 is not None
    assert p99.value == pytest.approx(0.001, rel=0.001)
    assert (load.latencies.seconds > 0.0015).sum() == 1
    assert load.loop == "closed"


def test_a_closed_loop_by_hand() -> None:
    clock = VirtualClock()
    pool = SimulatedPool(clock, 1, lambda size: 2.0)
    load = closed_loop(clock, pool, fixed(7, 7), workers=2, duration=9.0, warm_up=1.0)
    np.testing.assert_allclose(load.latencies.seconds, [4, 4, 4, 4])  # sent at 2, 4, 6, 8; each waits for the other
    assert (load.queries, load.completed, load.completed_items) == (4, 4, 28)  # finished at 2, 4, 6, 8


def test_a_closed_loop_goes_on_after_errors() -> None:
    clock = VirtualClock()
    pool = SimulatedPool(clock, 1, lambda size: 2.0, queue_limit=0)
    load = closed_loop(clock, pool, ONE, workers=2, duration=10.0)
    assert load.answered == 5
    assert load.errors > 1000


def test_overload_lets_latencies_grow_without_end() -> None:
    clock = VirtualClock()
    load = generate(clock, SimulatedPool(clock, 1, lambda s: 1.0), constant(1.2), ONE, duration=600.0, timeout=1000.0)
    np.testing.assert_allclose(load.latencies.seconds, 1 + np.arange(720) / 6)
    assert load.completed_rate == pytest.approx(1.0, abs=0.005)
    assert load.outstanding == pytest.approx(120, abs=1)


def test_overload_of_a_bounded_queue_gives_errors() -> None:
    clock = VirtualClock()
    pool = SimulatedPool(clock, 1, lambda size: 1.0, queue_limit=5)
    load = generate(clock, pool, constant(1.2), ONE, duration=600.0, timeout=1000.0)
    assert load.errors == load.error_texts[QUEUE_FULL] == pytest.approx(720 / 6, abs=8)
    assert load.latencies.seconds.max() <= 6.0
    assert load.completed_rate == pytest.approx(1.0, abs=0.005)
    lost = load.of_all.quantile(0.95)
    assert lost is not None
    assert lost.value == pytest.approx(86400, rel=0.001)  # answering only some is no p95


def test_figures_are_floats() -> None:
    clock = VirtualClock()
    figures = generate(clock, SimulatedPool(clock, 1, lambda size: 0.5), constant(1.0), ONE, duration=500.0).figures()
    assert (figures["loop"], figures["is_simulated"]) == ("open", True)
    assert figures["p95_s"] == pytest.approx([0.5] * 3, rel=0.001)
    assert figures["p999_s"] is None  # too few
    assert all(isinstance(figures[name], float) for name in ("queries", "timeouts", "completed_rate"))


@pytest.mark.parametrize("wrong, says", [
    ({"duration": 0.0}, "duration is 0.0, expected more than 0 seconds"),
    ({"warm_up": -1.0}, "warm_up is -1.0, expected at least 0 seconds"),
    ({"timeout": float("inf")}, "timeout is inf, expected more than 0 and at most 86400 seconds"),
])  # fmt: skip
def test_bad_times(wrong: dict[str, float], says: str) -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match=re.escape(says)):
        generate(clock, Scripted(clock, []), _at(), ONE, **({"duration": 1.0} | wrong))


def test_no_workers() -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match="workers are 0, expected at least 1"):
        closed_loop(clock, Scripted(clock, []), ONE, workers=0, duration=1.0)


def test_nothing_due() -> None:
    clock = VirtualClock()
    load = generate(clock, Scripted(clock, []), _at(), ONE, duration=1.0)
    assert (load.queries, load.offered_rate, load.share_within(1.0)) == (0, 0.0, 0.0)
    assert load.figures()["mean_s"] is None


def test_a_late_generator_makes_no_valid_load() -> None:
    """It counted as a slow server: latencies run from when queries were due."""
    load = _five()
    assert (load.late_share, load.invalid_reason) == (0.0, None)
    late = replace(load, queries=200, late_sends=3)
    reason = "the generator sent 2% of the queries more than 1 ms late (at most 1%)"
    assert (late.late_share, late.invalid_reason) == (0.015, reason)
    assert replace(late, late_sends=2).invalid_reason is None
    assert replace(late, loop="closed").invalid_reason is None  # there nothing is due before it is sent
