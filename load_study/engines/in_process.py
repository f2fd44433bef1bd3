"""An engine that is a thread of this process."""

from __future__ import annotations

import queue
import threading
import time
from types import TracebackType

import numpy as np

from load_study.engines.worker import answer_error
from load_study.subjects import Subject
from load_study.traffic.queries import AnswerCallback, Query


class InProcess:
    """One thread of this process that answers requests in order. It shares the interpreter with the generator."""

    is_simulated = False

    def __init__(self, subject: Subject, *, threads: int = 0, largest: int) -> None:
        subject.prepare()
        self._servable, self._rng = subject.open(threads), np.random.default_rng(0)
        for size in (1, largest, largest):
            self._servable(self._servable.examples(size, self._rng))
        self._requests: queue.Queue[tuple[Query, AnswerCallback] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._answer_requests, name="engine", daemon=True)
        self._thread.start()

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        self._requests.put((query, on_answer))

    def _answer_requests(self) -> None:
        while (request := self._requests.get()) is not None:
            query, on_answer = request
            error = answer_error(self._servable, query.size, self._rng)
            on_answer(query, time.perf_counter(), error)
            self._requests.task_done()

    def settle(self) -> None:
        """Wait until every query is answered, the one that is being computed too."""
        self._requests.join()

    def close(self) -> None:
        """End the thread."""
        self._requests.put(None)
        self._thread.join()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
