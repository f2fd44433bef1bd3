"""A simulated engine: servers that share one queue. Its times are not measured: `is_simulated` is True."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from load_study.traffic.clock import Clock
from load_study.traffic.queries import AnswerCallback, Query

QUEUE_FULL = "queue full"


@dataclass(eq=False, slots=True)
class _Job:
    query: Query
    on_answer: AnswerCallback
    ends: float


class SimulatedPool:
    """`servers` servers, one queue, first come, first served.

    Args:
        service: size -> seconds; called once for every query, when it is begun (it may draw).
        queue_limit: queries that may wait (those in service do not count); one more is answered "queue full".
    """

    is_simulated = True

    def __init__(
        self, clock: Clock, servers: int, service: Callable[[int], float], *, queue_limit: int | None = None
    ) -> None:
        if servers < 1:
            raise ValueError(f"servers are {servers}, expected at least 1")
        if queue_limit is not None and queue_limit < 0:
            raise ValueError(f"queue_limit is {queue_limit}, expected None or at least 0")
        self._clock, self._servers, self._service, self._limit = clock, servers, service, queue_limit
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Query, AnswerCallback]] = deque()
        self._running: set[_Job] = set()
        self._stalled_until = -math.inf

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        with self._lock:
            is_full = self._limit is not None and len(self._waiting) >= self._limit
            is_refused = is_full and len(self._running) == self._servers
            if not is_refused:
                self._waiting.append((query, on_answer))
                self._start_waiting()
        if is_refused:
            on_answer(query, self._clock.now(), QUEUE_FULL)

    def stall(self, at: float, seconds: float) -> None:
        """Stop all servers at a time for some seconds; then they continue their queries."""
        self._clock.call_at(at, partial(self._start_stall, seconds))

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._servers:
            query, on_answer = self._waiting.popleft()
            takes = self._service(query.size)
            if not (math.isfinite(takes) and takes > 0):
                raise ValueError(f"the service of size {query.size} takes {takes} s, expected more than 0")
            job = _Job(query, on_answer, max(self._clock.now(), self._stalled_until) + takes)
            self._running.add(job)
            self._clock.call_at(job.ends, partial(self._finish, job))

    def _finish(self, job: _Job) -> None:
        with self._lock:
            now = self._clock.now()
            if job.ends > now:  # the servers were stalled in the meantime
                self._clock.call_at(job.ends, partial(self._finish, job))
                return
            self._running.remove(job)
            self._start_waiting()
        job.on_answer(job.query, now, None)

    def _start_stall(self, seconds: float) -> None:
        with self._lock:
            now = self._clock.now()
            longer = now + seconds - max(now, self._stalled_until)
            if longer > 0:
                self._stalled_until = now + seconds
                for job in self._running:
                    job.ends += longer
