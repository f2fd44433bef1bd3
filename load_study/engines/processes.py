"""Processes that share one queue of queries: what engine processes and client processes have in common."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from load_study.engines.simulated import QUEUE_FULL
from load_study.engines.worker import FAILED, AnswerPipe
from load_study.traffic.clock import RealClock
from load_study.traffic.queries import AnswerCallback, Query

START_S = 300.0
"""Time limit of the start of all processes."""
Worker = tuple[Callable[..., None], tuple[Any, ...]]
"""Function of a process, and its first arguments; the queue of queries and the pipe of answers come behind them."""


class ProcessPool:
    """Processes that answer queries from one queue in order. They share no interpreter with the generator.

    Times of answers are taken in the processes; Linux has one monotonic clock for all of them. The generator's process
    also runs two threads of this class: one writes queries into the pipe of the queue, one reads answers from theirs.
    """

    is_simulated = False

    def __init__(self, workers: Sequence[Worker], *, name: str = "an engine", most_pending: int | None = None) -> None:
        """
        Args:
            name: what a process is, for messages.
            most_pending: number of unanswered queries from which a new one is refused; None for no limit.

        Raises:
            RuntimeError: a process did not start; the message says why.
        """
        context = multiprocessing.get_context("spawn")
        self._requests, self._answers = context.Queue(), AnswerPipe(context)
        self._name, self._limit = name, most_pending
        self._pending: dict[int, tuple[Query, AnswerCallback]] = {}
        self._lock, self._count, self._failure = threading.Lock(), 0, ""
        self._unanswered = 0  # `_pending` also holds a query while its callback runs
        self._processes = [
            context.Process(target=function, args=(*given, self._requests, self._answers), daemon=True)
            for function, given in workers
        ]
        for process in self._processes:
            process.start()
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise
        self._collector = threading.Thread(target=self._deliver_answers, name="answers", daemon=True)
        self._collector.start()

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        with self._lock:
            refused = self._failure or (
                QUEUE_FULL if self._limit is not None and self._unanswered >= self._limit else ""
            )
            if not refused:
                self._count += 1
                self._unanswered += 1
                number = self._count
                self._pending[number] = (query, on_answer)
        if refused:
            on_answer(query, time.perf_counter(), refused)
        else:
            self._requests.put((number, query.size))

    def settle(self) -> None:
        """Wait until every query is answered."""
        while self._pending:
            time.sleep(1e-3)

    def stall(self, clock: RealClock, at: float, seconds: float) -> None:
        """Stop all processes at a time for some seconds."""
        clock.call_at(at, lambda: self._send_signal(signal.SIGSTOP))
        clock.call_at(at + seconds, lambda: self._send_signal(signal.SIGCONT))

    def _send_signal(self, number: int) -> None:
        for process in self._processes:
            assert process.pid is not None
            os.kill(process.pid, number)

    def _await_ready(self) -> None:
        until, ready = time.monotonic() + START_S, 0
        while ready < len(self._processes):
            sentinels = [process.sentinel for process in self._processes]
            found = wait([self._answers.reader, *sentinels], timeout=max(until - time.monotonic(), 0))
            if self._answers.reader in found:
                message, _, reason = self._answers.reader.recv()
                if message == FAILED:
                    raise RuntimeError(f"{self._name} could not start: {reason}")
                ready += 1
            elif found:
                raise RuntimeError(f"{self._name} process died while it started (out of memory?)")
            else:
                raise RuntimeError(f"{self._name} was not ready within {START_S:.0f} s")

    def _deliver_answers(self) -> None:
        """Call the callbacks of answers until the pool is closed. After a process died, every query gets an error."""
        sentinels = [process.sentinel for process in self._processes]
        while True:
            found = wait([self._answers.reader, *sentinels])
            if self._answers.reader in found:
                number, finished, error = self._answers.reader.recv()
                if number is None:
                    return
                with self._lock:
                    query, on_answer = self._pending[number]
                    self._unanswered -= 1
                on_answer(query, finished, error)
                with self._lock:  # only now, so that `settle` waits for the callback too
                    del self._pending[number]
            else:
                self._fail_all(f"{self._name} process died")
                return

    def _fail_all(self, reason: str) -> None:
        with self._lock:
            self._failure = reason
            left = list(self._pending.values())
        for query, on_answer in left:
            on_answer(query, time.perf_counter(), reason)
        self._pending.clear()

    def close(self) -> None:
        """End the processes."""
        if hasattr(self, "_collector") and self._collector.is_alive():
            self._answers.send(None)
            self._collector.join()
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()
        self._requests.cancel_join_thread()

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
