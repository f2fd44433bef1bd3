"""Engines that really run: a thread of this process, or processes pinned to cores that take from one queue."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.inference.subjects import Servable, Subject
from benchmarks.traffic.clock import RealClock
from benchmarks.traffic.queries import Done, Query
from benchmarks.traffic.servers import QUEUE_FULL

START_S = 300.0
READY, FAILED = "ready", "failed"


class _Answers:
    """What engines say, on one pipe: (number of the request or READY or FAILED, when, what went wrong)."""

    def __init__(self, context: Any) -> None:
        self.reader, self._writer = context.Pipe(duplex=False)
        self._lock = context.Lock()

    def say(self, what: Any, error: str | None = None) -> None:
        now = time.perf_counter()
        with self._lock:
            self._writer.send((what, now, error))


def _answer(servable: Servable, size: int, rng: np.random.Generator) -> str | None:
    """Answer a request of random examples; what went wrong, or None."""
    try:
        servable(servable.examples(size, rng))
    except Exception as error:
        return _said(error)
    return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _serve(
    subject: Subject, cores: Sequence[int], warm: Sequence[int], seed: int, asked: Any, answers: _Answers
) -> None:
    """The life of an engine process: load, warm up, answer until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    rng = np.random.default_rng(seed)
    try:
        servable = subject.open(len(cores))
        for size in warm:
            servable(servable.examples(size, rng))
    except Exception as error:
        answers.say(FAILED, _said(error))
        return
    answers.say(READY)
    while (job := asked.get()) is not None:
        number, size = job
        answers.say(number, _answer(servable, size, rng))


class EnginePool:
    """Processes of one subject and the queue that they share: first come, first served.

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
        warm: Sequence[int] | None = None,
    ) -> None:
        """
        Args:
            cores: of each engine; they are pinned to cores of their own as far as there are so many.
            largest: size of a request.
            warm: sizes to warm up with (default: 1, and the largest twice).
            queue_limit: requests under way beside those being answered, above which one is refused; None for any.

        Raises:
            RuntimeError: an engine did not start (says why).
        """
        context = multiprocessing.get_context("spawn")
        sizes = (1, largest, largest) if warm is None else tuple(warm)
        if subject.engine.startswith("onnx") or subject.engine.startswith("tensorflow"):
            _alone(context, subject.prepare)
        self._asked, self._answers = context.Queue(), _Answers(context)
        self._limit = None if queue_limit is None else queue_limit + engines
        self._under_way: dict[int, tuple[Query, Done]] = {}
        self._lock, self._count, self._failure = threading.Lock(), 0, ""
        mine = sorted(os.sched_getaffinity(0))
        self._processes = [
            context.Process(
                target=_serve,
                args=(
                    subject,
                    _cores(mine, k, cores),
                    sizes,
                    k,
                    self._asked,
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
        self._collector = threading.Thread(target=self._collect, name="answers", daemon=True)
        self._collector.start()

    def submit(self, query: Query, done: Done) -> None:
        with self._lock:
            refused = self._failure or (
                QUEUE_FULL if self._limit is not None and len(self._under_way) >= self._limit else ""
            )
            if not refused:
                self._count += 1
                number = self._count
                self._under_way[number] = (query, done)
        if refused:
            done(query, time.perf_counter(), refused)
        else:
            self._asked.put((number, query.size))

    def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            time.sleep(1e-3)

    def stall(self, clock: RealClock, at: float, seconds: float) -> None:
        """Stop all engine processes at a time, for so many seconds."""
        clock.call_at(at, lambda: self._signal(signal.SIGSTOP))
        clock.call_at(at + seconds, lambda: self._signal(signal.SIGCONT))

    def _signal(self, number: int) -> None:
        for process in self._processes:
            assert process.pid is not None
            os.kill(process.pid, number)

    def _await_ready(self) -> None:
        until, ready = time.monotonic() + START_S, 0
        while ready < len(self._processes):
            sentinels = [process.sentinel for process in self._processes]
            found = wait([self._answers.reader, *sentinels], timeout=max(until - time.monotonic(), 0))
            if self._answers.reader in found:
                what, _, why = self._answers.reader.recv()
                if what == FAILED:
                    raise RuntimeError(f"an engine could not start: {why}")
                ready += 1
            elif found:
                raise RuntimeError("an engine process died while it started (out of memory?)")
            else:
                raise RuntimeError(f"an engine was not ready within {START_S:.0f} s")

    def _collect(self) -> None:
        """Hand answers on until the pool is closed. If an engine dies, all that is under way or comes later fails."""
        sentinels = [process.sentinel for process in self._processes]
        while True:
            found = wait([self._answers.reader, *sentinels])
            if self._answers.reader in found:
                number, finished, error = self._answers.reader.recv()
                if number is None:
                    return
                with self._lock:
                    query, done = self._under_way.pop(number)
                done(query, finished, error)
            else:
                self._give_up("an engine process died")
                return

    def _give_up(self, why: str) -> None:
        with self._lock:
            self._failure = why
            left, self._under_way = list(self._under_way.values()), {}
        for query, done in left:
            done(query, time.perf_counter(), why)

    def close(self) -> None:
        """End the engines."""
        if hasattr(self, "_collector") and self._collector.is_alive():
            self._answers.say(None)
            self._collector.join()
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()
        self._asked.cancel_join_thread()

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _cores(mine: Sequence[int], k: int, each: int) -> list[int]:
    """The cores of engine k; engines share them where there are too few."""
    return sorted({mine[(k * each + j) % len(mine)] for j in range(each)})


def _alone(context: Any, function: Any) -> None:
    """Run it in a process that ends, so that what it loaded goes.

    Raises:
        RuntimeError: it failed; what it printed says why.
    """
    process = context.Process(target=function)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the model could not be prepared, see above")


class InProcess:
    """One thread of this process that answers, first come, first served. It shares Python with the generator."""

    is_simulated = False

    def __init__(self, subject: Subject, *, threads: int = 0, largest: int) -> None:
        subject.prepare()
        self._servable, self._rng = subject.open(threads), np.random.default_rng(0)
        for size in (1, largest, largest):
            self._servable(self._servable.examples(size, self._rng))
        self._asked: queue.SimpleQueue[tuple[Query, Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def submit(self, query: Query, done: Done) -> None:
        self._asked.put((query, done))

    def _work(self) -> None:
        while (job := self._asked.get()) is not None:
            query, done = job
            error = _answer(self._servable, query.size, self._rng)
            done(query, time.perf_counter(), error)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        while not self._asked.empty():
            time.sleep(1e-3)

    def close(self) -> None:
        """End the thread."""
        self._asked.put(None)
        self._thread.join()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
