"""Clocks: the real one, and a virtual one that jumps from event to event, so that tests simulate hours quickly."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Protocol

SPIN_S = 50e-6
"""End of a wait that is spun away (yielding the core each turn): about what `time.sleep` oversleeps on Linux."""

Action = Callable[[], None]


class Clock(Protocol):
    """The interface that the generator and the engines use."""

    is_simulated: bool

    def now(self) -> float:
        """Seconds; the origin means nothing."""
        ...

    def sleep_until(self, when: float) -> None:
        """Return at `when`, or at once if it is past."""
        ...

    def call_at(self, when: float, function: Action) -> None:
        """Call the function at `when`, or as soon as possible if it is past. It must not block."""
        ...


class RealClock:
    """`time.perf_counter`. What `call_at` was given runs one after the other on one thread.

    A failure there is raised by the next `sleep_until`, so that it is not lost with the thread.
    """

    is_simulated = False

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def now(self) -> float:
        return time.perf_counter()

    def sleep_until(self, when: float) -> None:
        while (left := when - time.perf_counter()) > 0:
            time.sleep(max(left - SPIN_S, 0))
        if self._failure:
            failure, self._failure = self._failure, None
            raise failure

    def call_at(self, when: float, function: Action) -> None:
        with self._changed:
            heapq.heappush(self._events, (when, next(self._numbers), function))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_events, name="clock", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _take_next_event(self) -> Action:
        """Wait for the first event to be due, and take it."""
        with self._changed:
            while True:
                left = self._events[0][0] - time.perf_counter() if self._events else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._events)[2]
                self._changed.wait(left)

    def _run_events(self) -> None:
        while True:
            function = self._take_next_event()
            try:
                function()
            except BaseException as failure:
                self._failure = self._failure or failure


class VirtualClock:
    """Time that passes only in `sleep_until` and `run_all`, which run every due event in order of time.

    Events of one time run in the order they were added. One thread only.
    """

    is_simulated = True

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._events: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    def sleep_until(self, when: float) -> None:
        events = self._events
        while events and events[0][0] <= when:
            self._now, _, function = heapq.heappop(events)
            function()
        self._now = max(self._now, when)

    def call_at(self, when: float, function: Action) -> None:
        heapq.heappush(self._events, (max(when, self._now), next(self._numbers), function))

    def run_all(self) -> None:
        """Run until nothing is left to run; the time is then that of the last event."""
        while self._events:
            self.sleep_until(self._events[0][0])
