"""Engines that are processes pinned to cores and share one queue."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

from load_study.engines.simulated import QUEUE_FULL
from load_study.engines.worker import FAILED, AnswerPipe, run_worker
from load_study.subjects import Subject
from load_study.traffic.clock import RealClock
from load_study.traffic.queries import AnswerCallback, Query

START_S = 300.0
"""Time limit of the start of all engines."""


class EnginePool:
    """Processes of one subject that answer queries from one queue in order.

    Times of answers are taken in the engines; Linux has one monotonic clock for all processes.
    """

    is_simulated = False

    def __init__(
        self,
        subject: Subject,
        *,
        engines: int = 1,
        cores: int = 1,
        largest: int,
        queue_limit: int | None = None,
        warm_up_sizes: Sequence[int] | None = None,
    ) -> None:
        """
        Args:
            cores: of each engine; engines are pinned to different cores as long as there are enough.
            largest: size of a request.
            warm_up_sizes: sizes of the requests before the first one counts (default: 1, and the largest twice).
            queue_limit: number of waiting requests above which a new one is refused; None for no limit.

        Raises:
            RuntimeError: an engine did not start; the message says why.
        """
        context = multiprocessing.get_context("spawn")
        sizes = (1, largest, largest) if warm_up_sizes is None else tuple(warm_up_sizes)
        if subject.engine.startswith(("onnx", "tensorflow")):
            _run_in_process(context, subject.prepare)
        self._requests, self._answers = context.Queue(), AnswerPipe(context)
        self._limit = None if queue_limit is None else queue_limit + engines
        self._pending: dict[int, tuple[Query, AnswerCallback]] = {}
        self._lock, self._count, self._failure = threading.Lock(), 0, ""
        mine = sorted(os.sched_getaffinity(0))
        self._processes = [
            context.Process(
                target=run_worker,
                args=(
                    subject,
                    _cores_of(mine, k, cores),
                    sizes,
                    k,
                    self._requests,
                    self._answers,
                ),
                daemon=True,
            )
            for k in range(engines)
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
                QUEUE_FULL if self._limit is not None and len(self._pending) >= self._limit else ""
            )
            if not refused:
                self._count += 1
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
        """Stop all engine processes at a time for some seconds."""
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
                    raise RuntimeError(f"an engine could not start: {reason}")
                ready += 1
            elif found:
                raise RuntimeError("an engine process died while it started (out of memory?)")
            else:
                raise RuntimeError(f"an engine was not ready within {START_S:.0f} s")

    def _deliver_answers(self) -> None:
        """Call the callbacks of answers until the pool is closed. After an engine died, every query gets an error."""
        sentinels = [process.sentinel for process in self._processes]
        while True:
            found = wait([self._answers.reader, *sentinels])
            if self._answers.reader in found:
                number, finished, error = self._answers.reader.recv()
                if number is None:
                    return
                with self._lock:
                    query, on_answer = self._pending.pop(number)
                on_answer(query, finished, error)
            else:
                self._fail_all("an engine process died")
                return

    def _fail_all(self, reason: str) -> None:
        with self._lock:
            self._failure = reason
            left, self._pending = list(self._pending.values()), {}
        for query, on_answer in left:
            on_answer(query, time.perf_counter(), reason)

    def close(self) -> None:
        """End the engines."""
        if hasattr(self, "_collector") and self._collector.is_alive():
            self._answers.send(None)
            self._collector.join()
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()
        self._requests.cancel_join_thread()

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _cores_of(mine: Sequence[int], k: int, each: int) -> list[int]:
    """The cores of engine k; engines share them where there are too few."""
    return sorted({mine[(k * each + j) % len(mine)] for j in range(each)})


def _run_in_process(context: Any, function: Any) -> None:
    """Run a function in a process of its own, so that the memory of what it loads is freed.

    Raises:
        RuntimeError: it failed; its output says why.
    """
    process = context.Process(target=function)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the model could not be prepared, see above")
