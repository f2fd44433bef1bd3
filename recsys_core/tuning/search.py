"""The search: gives trials to its workers, tells the study how they go, and stops when the budget is used up."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from recsys_core.errors import UserError
from recsys_core.tuning.answer import write_preset_file
from recsys_core.tuning.processes import WorkerEnded, WorkerProcess, gpus_of
from recsys_core.tuning.report import Report, best_of
from recsys_core.tuning.study import Outcome, Study

if TYPE_CHECKING:
    from recsys_core.tuning.request import SearchRequest

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_NOTES = 5.0
ENDS_IN_A_ROW = 3
"""Trials that ended their worker, one after another, after which the search stops."""
WORK, LOGS = "trials", "logs"
"""Folders of the files of running trials, and of what the workers print."""


class Search:
    """Trials of a study on some workers, each served by a thread of this process."""

    def __init__(self, request: SearchRequest, study: Study, report: Report) -> None:
        self._request, self._study, self._report = request, study, report
        self._lock = threading.Lock()
        self._workers: list[WorkerProcess] = []
        self._running = 0
        self._ends_in_a_row = 0
        self._error: str | None = None
        self._is_over = False
        self._before, self._started = study.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time of this study, that of earlier commands included."""
        return self._before + time.monotonic() - self._started

    def run(self) -> None:
        """Make trials until the budget is used up.

        Raises:
            UserError: a trial cannot be made with this data set, or workers end again and again.
        """
        threads = [threading.Thread(target=self._serve, args=(k,), daemon=True) for k in range(self._request.workers)]
        noted = 0.0
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads) and not self._is_used_up():
                self._report.wait(self.seconds)
                if self.seconds - noted > SECONDS_BETWEEN_NOTES:
                    noted = self.seconds
                    self._study.set_seconds(noted)
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            self._is_over = True
            for worker in list(self._workers):
                worker.end()
            for thread in threads:
                thread.join()
            self._study.recover()
            self._study.set_seconds(self.seconds)
            self._report.close()
        if self._error is not None:
            raise UserError(self._error)

    @property
    def is_done(self) -> bool:
        """Whether budget or trials are used up."""
        wanted = self._request.trials
        return self._is_used_up() or (wanted is not None and len(self._study.finished) + self._running >= wanted)

    def _is_used_up(self) -> bool:
        return self._request.budget is not None and self.seconds >= self._request.budget

    def _serve(self, place: int) -> None:
        """Give trials to one worker, which is started anew when it ended."""
        with ExitStack() as stack:
            worker: WorkerProcess | None = None
            while (trial := self._next()) is not None:
                try:
                    if worker is None:
                        worker = self._start(place)
                        stack.callback(worker.end)
                    outcome = self._trial(worker, trial)
                    self._ends_in_a_row = 0
                except WorkerEnded as ended:
                    worker = None
                    outcome = self._failed(trial, str(ended))
                    self._note_end(str(ended))
                except Exception as error:  # a thread has nobody to raise it to
                    self._stop(f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error))
                    return
                if self._is_over:  # it is made again when the search goes on
                    return
                try:
                    self._finish(trial, outcome)
                except UserError as error:
                    self._stop(str(error))
                    return
                if worker is not None and worker.is_full:
                    worker.end()
                    worker = None

    def _finish(self, trial: Any, outcome: Outcome) -> None:
        """Note a trial; where it is the best one, publish its preset file, so that there is always an answer."""
        with self._lock:
            self._study.finish(trial, outcome)
            self._running -= 1
            done = self._study.finished
            best = best_of(done)
            if best is not None and best.number == outcome.number:
                write_preset_file(self._request, best, done)
        self._report.finished(outcome, self.seconds)

    def _next(self) -> Any:
        """The next trial; None when there is to be none."""
        with self._lock:
            if self._is_over or self.is_done:
                return None
            self._running += 1
            return self._study.ask()

    def _start(self, place: int) -> WorkerProcess:
        request = self._request
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        worker = WorkerProcess(
            request.spec.family,
            ranks=request.ranks,
            threads=max(1, cores // (request.workers * request.ranks)),
            log=request.out / LOGS / f"worker-{place}.log",
            gpus=gpus_of(place, request.ranks),
        )
        self._workers.append(worker)
        setup = {
            "data": str(request.data),
            "preset": request.preset_name,
            "metric": request.metric,
            "seed": request.seed,
            "evaluate_every": request.evaluate_every,
            "folder": str(request.out / WORK),
        }
        try:
            worker.send(setup)
            answer = worker.receive()
        except WorkerEnded as ended:
            raise UserError(f"a worker did not start: {ended}") from None
        if "error" in answer:
            raise UserError(answer["error"])
        return worker

    def _trial(self, worker: WorkerProcess, trial: Any) -> Outcome:
        """Have a worker make a trial."""
        settings, started = self._study.settings(trial), time.monotonic()
        worker.send({"number": trial.number, "settings": settings})
        while "epoch" in (answer := worker.receive()) and "pruned" not in answer:
            worker.send({"prune": self._study.report(trial, answer["epoch"], answer["value"])})
        worker.is_full = answer["full"]
        if "failed" in answer:
            if not answer["diverged"] and not self._study.finished:
                raise UserError(answer["failed"])  # the first trial has the preset's settings: all would fail
            return self._failed(trial, answer["failed"])
        return Outcome(
            number=trial.number,
            settings=settings,
            state="pruned" if answer["pruned"] else "complete",
            value=answer["value"],
            error=answer["error"],
            epoch=answer["epoch"],
            seconds=time.monotonic() - started,
        )

    def _failed(self, trial: Any, reason: str) -> Outcome:
        settings = self._study.settings(trial)
        return Outcome(number=trial.number, settings=settings, state="failed", value=None, reason=reason)

    def _note_end(self, reason: str) -> None:
        with self._lock:
            self._ends_in_a_row += 1
        if self._ends_in_a_row >= ENDS_IN_A_ROW:
            self._stop(f"{self._ends_in_a_row} workers ended one after another: {reason}")

    def _stop(self, error: str) -> None:
        """End the search with an error, unless it ends already."""
        with self._lock:
            if not self._is_over and self._error is None:
                self._error = error
            self._is_over = True
