"""The process of one engine: it loads the model, warms up, and answers requests from a queue until it is stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from load_study.subjects import Servable, Subject

READY, FAILED = "ready", "failed"


class AnswerPipe:
    """One pipe for the answers of all engine processes: (request number or READY or FAILED, finish time, error)."""

    def __init__(self, context: Any) -> None:
        self.reader, self._writer = context.Pipe(duplex=False)
        self._lock = context.Lock()

    def send(self, message: Any, error: str | None = None) -> None:
        """Send a request number, READY, FAILED, or None for the end, with the time of now."""
        now = time.perf_counter()
        with self._lock:
            self._writer.send((message, now, error))


def answer_error(servable: Servable, size: int, rng: np.random.Generator) -> str | None:
    """Answer a request of random examples and return the text of its error, or None."""
    try:
        servable(servable.examples(size, rng))
    except Exception as error:
        return error_text(error)
    return None


def error_text(error: Exception) -> str:
    """Kind and text of an error, in at most 500 letters."""
    return f"{type(error).__name__}: {error}"[:500]


def end_with_parent() -> None:
    """End this process when its parent has ended, however that was; otherwise it would wait for queries for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def run_worker(
    subject: Subject, cores: Sequence[int], warm_up_sizes: Sequence[int], seed: int, requests: Any, answers: AnswerPipe
) -> None:
    """Load the subject, warm up, and answer (number, size) from the queue until None comes."""
    end_with_parent()
    os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    rng = np.random.default_rng(seed)
    try:
        servable = subject.open(len(cores))
        for size in warm_up_sizes:
            servable(servable.examples(size, rng))
    except Exception as error:
        answers.send(FAILED, error_text(error))
        return
    answers.send(READY)
    while (request := requests.get()) is not None:
        number, size = request
        answers.send(number, answer_error(servable, size, rng))
