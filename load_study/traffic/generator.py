"""The load generator: an open loop, and a closed loop for comparison.

Open loop: a query is sent when it is due, for any number of unanswered ones, and its latency counts from then. If an
engine stops for a second, the latency of every query due in that second includes the wait. Closed loop: the next query
is sent when the last was answered, so a stopped engine gets no queries, and one slow query hides all that would have
waited (coordinated omission; Gil Tene, "How NOT to Measure Latency").
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from load_study.traffic.arrivals import Arrivals
from load_study.traffic.clock import Clock
from load_study.traffic.latency import LONGEST_S
from load_study.traffic.ledger import Ledger
from load_study.traffic.queries import Query, Target
from load_study.traffic.result import LoadResult
from load_study.traffic.sizes import Sizes

RETRY_S = 1e-3
"""Wait of a closed-loop worker after an error, so that an engine that refuses at once does not cause a busy loop."""
DRAIN_STEPS = 1000
"""Number of checks for the last answers during one timeout."""


def _check_times(duration: float, warm_up: float, timeout: float) -> None:
    if not (math.isfinite(duration) and duration > 0):
        raise ValueError(f"duration is {duration}, expected more than 0 seconds")
    if not (math.isfinite(warm_up) and warm_up >= 0):
        raise ValueError(f"warm_up is {warm_up}, expected at least 0 seconds")
    if not 0 < timeout <= LONGEST_S:
        raise ValueError(f"timeout is {timeout}, expected more than 0 and at most {LONGEST_S} seconds")


def _await_last_answers(clock: Clock, ledger: Ledger, timeout: float) -> None:
    """Wait until all queries are answered or have timed out."""
    limit = ledger.last_due + timeout
    while ledger.waiting() and clock.now() <= limit:
        clock.sleep_until(clock.now() + timeout / DRAIN_STEPS)


def generate(
    clock: Clock,
    target: Target,
    arrivals: Arrivals,
    sizes: Sizes,
    *,
    duration: float,
    warm_up: float = 0.0,
    timeout: float = 10.0,
) -> LoadResult:
    """Open loop: send every query at its due time, then wait for the last answers.

    Args:
        duration: seconds of the window whose queries count.
        warm_up: seconds before the window; its queries are sent, but not counted.
        timeout: seconds after its due time in which a query must be answered.

    Raises:
        ValueError: a time out of range.
    """
    _check_times(duration, warm_up, timeout)
    due = arrivals(warm_up + duration)
    planned = list(zip(due.tolist(), sizes(len(due)).tolist(), strict=True))
    ledger, start = Ledger(), clock.now()
    for number, (offset, size) in enumerate(planned):
        query = Query(number, start + offset, size)
        clock.sleep_until(query.due)
        ledger.record_sent(query, clock.now())
        target.submit(query, ledger.record_answer)
    end = start + warm_up + duration
    clock.sleep_until(end)
    _await_last_answers(clock, ledger, timeout)
    is_simulated = clock.is_simulated or target.is_simulated
    return ledger.load("open", start=start + warm_up, end=end, timeout=timeout, is_simulated=is_simulated)


def _endless_sizes(sizes: Sizes) -> Iterator[int]:
    while True:
        yield from sizes(1000).tolist()


def closed_loop(
    clock: Clock,
    target: Target,
    sizes: Sizes,
    *,
    workers: int = 1,
    duration: float,
    warm_up: float = 0.0,
    timeout: float = 10.0,
) -> LoadResult:
    """Closed loop: each worker sends its next query when its last was answered; latency counts from the send.

    Raises:
        ValueError: a time or a number out of range.
    """
    _check_times(duration, warm_up, timeout)
    if workers < 1:
        raise ValueError(f"workers are {workers}, expected at least 1")
    ledger, drawn, numbers, start = Ledger(), _endless_sizes(sizes), iter(range(2**63 - 1)), clock.now()
    end = start + warm_up + duration

    def send() -> None:  # always by call_at, so never two at a time
        now = clock.now()
        if now < end:
            query = Query(next(numbers), now, next(drawn))
            ledger.record_sent(query, now)
            target.submit(query, answered)

    def answered(query: Query, finished: float, error: str | None) -> None:
        ledger.record_answer(query, finished, error)
        clock.call_at(clock.now() + (RETRY_S if error else 0.0), send)

    for _ in range(workers):
        clock.call_at(start, send)
    clock.sleep_until(end)
    _await_last_answers(clock, ledger, timeout)
    is_simulated = clock.is_simulated or target.is_simulated
    return ledger.load("closed", start=start + warm_up, end=end, timeout=timeout, is_simulated=is_simulated)
