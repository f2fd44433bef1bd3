"""The record of a load while it runs: when each query was sent, and when it was answered. Thread-safe."""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Literal

import numpy as np

from load_study.traffic.latency import LONGEST_S, Latencies
from load_study.traffic.queries import Query
from load_study.traffic.result import LATE_S, LoadResult


class Ledger:
    """Queries and answers of one load. Answers that come after `load` was called are not counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queries: list[Query] = []
        self._sent: list[float] = []
        self._answers: dict[int, tuple[float, str | None]] = {}
        self._is_closed = False

    @property
    def last_due(self) -> float:
        """Due time of the last query sent so far (-inf before the first)."""
        return self._queries[-1].due if self._queries else -math.inf

    def record_sent(self, query: Query, now: float) -> None:
        """Record a query just before it is sent; queries are numbered in this order."""
        with self._lock:
            assert query.number == len(self._queries), (query, len(self._queries))
            self._queries.append(query)
            self._sent.append(now)

    def record_answer(self, query: Query, finished: float, error: str | None) -> None:
        """Record an answer.

        Raises:
            RuntimeError: the query was answered before.
        """
        with self._lock:
            if self._is_closed:
                return
            if query.number in self._answers:
                raise RuntimeError(f"query {query.number} was answered twice, expected one answer")
            self._answers[query.number] = finished, error

    def waiting(self) -> int:
        """Number of queries that are sent and not answered."""
        with self._lock:
            return len(self._queries) - len(self._answers)

    def load(
        self, loop: Literal["open", "closed"], *, start: float, end: float, timeout: float, is_simulated: bool
    ) -> LoadResult:
        """Stop recording and return the result of the window [start, end)."""
        with self._lock:
            self._is_closed = True
        nothing = (math.inf, None)
        answers = [self._answers.get(number, nothing) for number in range(len(self._queries))]
        due = np.array([query.due for query in self._queries])
        size = np.array([query.size for query in self._queries], dtype=np.int64)
        finished = np.array([at for at, _ in answers])
        failed = np.array([error is not None for _, error in answers], dtype=bool)
        counted, in_time = (due >= start) & (due < end), finished - due <= timeout
        good = in_time & ~failed
        late = (np.array(self._sent) - due)[counted]
        completed = good & (finished >= start) & (finished < end)
        texts = (answers[number][1] for number in np.flatnonzero(counted & in_time & failed))
        return LoadResult(
            loop=loop,
            is_simulated=is_simulated,
            duration=end - start,
            queries=int(counted.sum()),
            items=int(size[counted].sum()),
            latencies=Latencies((finished - due)[counted & good]),
            of_all=Latencies(np.where(good, finished - due, LONGEST_S)[counted]),
            errors=int((counted & in_time & failed).sum()),
            error_texts=dict(Counter(str(text) for text in texts)),
            timeouts=int((counted & ~in_time).sum()),
            late_sends=int((late > LATE_S).sum()),
            worst_lateness=float(late.max(initial=0.0)),
            completed=int(completed.sum()),
            completed_items=int(size[completed].sum()),
            outstanding=int((finished >= end).sum()),
            unanswered=int(np.isinf(finished).sum()),
        )
