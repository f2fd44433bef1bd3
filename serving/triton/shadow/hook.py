"""Passes a share of the requests of a served version on to a shadowed candidate, after their answers were made.

A thread looks for the settings once a second, starts the candidate's process, asks it, and writes the report. The
served answer waits for none of that: a call is put into a bounded queue, or is dropped and counted when it is full.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from serving.recommend.recommender import POPULAR, Recommendation
from serving.recommend.requests import Request, RequestError
from serving.triton.loading import Placement
from serving.triton.shadow import settings as files
from serving.triton.shadow.candidate import Candidate, CandidateEndedError, CandidateError
from serving.triton.shadow.metrics import ShadowMetrics
from serving.triton.shadow.settings import FAILED, LOADING, RUNNING, ShadowSettings
from serving.triton.shadow.tally import Tally

QUEUED = 64
"""Calls that may wait for the candidate."""
LOOK_SECONDS = 1.0
"""Between two looks at the settings, and between two reports."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that the served version has answered."""

    requests: Sequence[Request]
    answers: Sequence[Recommendation]
    seconds: float


class Metrics(Protocol):
    """Where the counts go besides the report."""

    def update(self, tally: Tally) -> None:
        """Called about once a second."""


class Shadow:
    """The shadow of one instance of a served model."""

    def __init__(
        self,
        model: Path,
        version: int,
        instance: str,
        placement: Placement,
        *,
        metrics: Callable[[ShadowSettings, Tally], Metrics | None] = lambda *_: None,
        log: Callable[[str], object] = print,
    ) -> None:
        """
        Args:
            model: folder of the model in the repository.
            version: the version that this instance serves.
            instance: its name.
            metrics: makes the metrics of a new shadow, from its settings and its counts so far.
            log: takes a line about a candidate that failed.
        """
        self._model, self._version, self._placement = model, version, placement
        self._report, self._make_metrics, self._log = files.report_path(model, instance), metrics, log
        self._queue: queue.Queue[Call] = queue.Queue(QUEUED)
        self._stopped = threading.Event()
        self._settings: ShadowSettings | None = None
        self._candidate: Candidate | None = None
        self._metrics: Metrics | None = None
        self._state, self._reason, self._tally = LOADING, "", Tally()
        self._share = 0.0
        """Share of the calls that are passed on; 0 while no candidate is ready."""
        self._random = random.Random()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Look for settings from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the candidate's process."""
        self._share = 0.0
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(5)
        self._end_candidate()

    def offer(
        self, requests: Sequence[Request | RequestError], answers: Sequence[Recommendation], seconds: float
    ) -> None:
        """Take a call that was answered. Returns at once.

        Args:
            requests: with the errors of rows that were refused; those are left out.
            seconds: that the served version took.
        """
        if self._share == 0.0:
            return
        asked = [(r, answer) for r, answer in zip(requests, answers, strict=True) if isinstance(r, Request)]
        self._tally.offered += len(asked)
        if not asked or self._random.random() >= self._share:
            return
        try:
            self._queue.put_nowait(Call(requests=[r for r, _ in asked], answers=[a for _, a in asked], seconds=seconds))
        except queue.Full:
            self._tally.dropped += len(asked)

    def _run(self) -> None:
        looked = 0.0
        while not self._stopped.is_set():
            if time.monotonic() - looked >= LOOK_SECONDS:
                self._safely(self._look)
                self._safely(self._write)
                looked = time.monotonic()
            with contextlib.suppress(queue.Empty):
                self._safely(partial(self._ask, self._queue.get(timeout=LOOK_SECONDS / 2)))

    def _safely(self, act: Callable[[], None]) -> None:
        """Do something for the shadow. The served model goes on whatever becomes of it."""
        try:
            act()
        except Exception as error:
            self._fail(f"{type(error).__name__}: {error}")
            self._stopped.wait(LOOK_SECONDS)

    def _look(self) -> None:
        """Start or end the candidate if the settings have changed."""
        try:
            found = files.read(self._model)
        except ValueError:
            found = None
        if found is not None and found.served != self._version:
            found = None
        if found == self._settings:
            return
        self._end_candidate()
        self._settings = found
        if found is not None:
            self._start_candidate(found)

    def _start_candidate(self, found: ShadowSettings) -> None:
        former = files.read_report(self._report, found)  # of this shadow, before the server was restarted
        self._tally = former[1] if former is not None else Tally()
        self._state, self._reason = LOADING, ""
        self._write()
        self._candidate = Candidate(self._model / str(found.version), self._placement)
        try:
            self._candidate.wait_ready()
        except CandidateEndedError as error:
            self._fail(str(error))
            return
        self._metrics = self._make_metrics(found, replace(self._tally))
        self._state, self._share = RUNNING, found.share

    def _ask(self, call: Call) -> None:
        if self._candidate is None or self._state != RUNNING:
            return
        try:
            seconds, answers = self._candidate.ask(call.requests)
        except CandidateError as error:
            self._tally.failed += len(call.requests)
            self._tally.last_error = str(error)
            return
        except CandidateEndedError as error:
            self._tally.failed += len(call.requests)
            self._fail(str(error))
            return
        self._tally.served.add(call.seconds)
        self._tally.candidate.add(seconds)
        for ours, theirs in zip(call.answers, answers, strict=True):
            popular = (ours.source == POPULAR, theirs["source"] == POPULAR)
            self._tally.add(ours.item_ids.tolist(), theirs["items"], popular)

    def _fail(self, reason: str) -> None:
        """End the candidate, and have the report say why."""
        self._end_candidate()
        self._state, self._reason, self._tally.last_error = FAILED, reason, reason
        self._log(f"the shadow of {self._model.name} failed: {reason}")

    def _end_candidate(self) -> None:
        self._share = 0.0
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _write(self) -> None:
        """Write the report and the metrics, if there is a shadow."""
        if self._settings is None:
            return
        self._update_metrics()
        with contextlib.suppress(OSError):  # the shadow was ended, or the repository cannot be written
            files.write_report(self._report, self._settings, self._state, self._reason, self._tally)

    def _update_metrics(self) -> None:
        if self._metrics is None:
            return
        try:
            self._metrics.update(self._tally)
        except Exception as error:
            self._metrics = None
            self._log(f"the metrics of the shadow of {self._model.name} stopped: {type(error).__name__}: {error}")


def of_backend(model: Path, version: int, instance: str, placement: Placement, utils: Any) -> Shadow:
    """The shadow of an instance that Triton's Python backend runs, with Triton's metrics and log, if it has them.

    Args:
        utils: Triton's module for Python backends.
    """

    def metrics(settings: ShadowSettings, start: Tally) -> Metrics | None:
        try:
            return ShadowMetrics(utils, model.name, settings, start)
        except Exception:  # AttributeError of another backend, TritonModelException with --allow-metrics=false
            return None

    logger = getattr(utils, "Logger", None)
    log = logger.log_warn if logger is not None else print
    return Shadow(model, version, instance, placement, metrics=metrics, log=log)
