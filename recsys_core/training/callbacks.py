"""Callbacks of a training run: progress on the screen, log, checkpoints, curves, stopping early, conversion.

Each is called on every rank; what touches the screen or the disk does nothing except on rank 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from recsys_core import conversion
from recsys_core.evaluation.evaluator import Estimate
from recsys_core.training import progress
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.training.curves import Curves, draw_curves
from recsys_core.training.durations import Durations
from recsys_core.training.log import RunLog
from recsys_core.training.state import EvalEvent, TrainState
from recsys_core.world import World


class Callback:
    """A callback that does nothing; override what is needed."""

    part: ClassVar[str] = "callbacks"
    """What its time is counted as in the summary of a run."""

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        """After each inner loop.

        Args:
            values: means of the loss terms over its steps, and examples a second.
        """

    def on_evaluation_start(self, state: TrainState) -> None:
        """Before each evaluation on the validation users."""

    def on_evaluation(self, event: EvalEvent) -> None:
        """After each evaluation on the validation users."""

    def wants_stop(self, state: TrainState) -> bool:
        """Whether training is to end; asked before each inner loop, on a resumed run too."""
        del state
        return False

    def on_end(self) -> None:
        """After the last step, or when the run is interrupted."""

    def on_result(self, content: Mapping[str, Any]) -> None:
        """After the evaluation of the best checkpoint; not when the run is interrupted.

        Args:
            content: what `result.json` holds.
        """

    def on_export(self, folder: Path) -> bool:
        """After the export of a model that passed its gate.

        Returns:
            False when it failed in what it does with the export, the same on every rank.
        """
        del folder
        return True


class Callbacks(Callback):
    """Several callbacks, called in order, with the time of each counted."""

    def __init__(self, callbacks: Sequence[Callback], durations: Durations) -> None:
        self._callbacks, self._durations = tuple(callbacks), durations

    def _each(self) -> Iterator[Callback]:
        for callback in self._callbacks:
            with self._durations.of(callback.part):
                yield callback

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        for callback in self._each():
            callback.on_steps(state, values)

    def on_evaluation_start(self, state: TrainState) -> None:
        for callback in self._each():
            callback.on_evaluation_start(state)

    def on_evaluation(self, event: EvalEvent) -> None:
        for callback in self._each():
            callback.on_evaluation(event)

    def wants_stop(self, state: TrainState) -> bool:
        return any(callback.wants_stop(state) for callback in self._callbacks)

    def on_end(self) -> None:
        for callback in self._each():
            callback.on_end()

    def on_result(self, content: Mapping[str, Any]) -> None:
        for callback in self._each():
            callback.on_result(content)

    def on_export(self, folder: Path) -> bool:
        outcomes = [callback.on_export(folder) for callback in self._each()]  # every one is called
        return all(outcomes)


class ShowProgress(Callback):
    """A progress bar, and a line for each evaluation."""

    def __init__(self, bar: progress.ProgressReport) -> None:
        self._bar = bar

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        self._bar.update(state.step, values)

    def on_evaluation_start(self, state: TrainState) -> None:
        self._bar.evaluating()

    def on_evaluation(self, event: EvalEvent) -> None:
        shown = "  ".join(f"{n} {e.mean:.4f}" for n, e in event.evaluation.metrics.items())
        self._bar.evaluated(event.state.step, f"validation {shown}{'  (best)' if event.is_best else ''}")

    def on_end(self) -> None:
        self._bar.close()


class WriteLog(Callback):
    """Lines in `metrics.jsonl`, and TensorBoard."""

    part = "log"

    def __init__(self, log: RunLog) -> None:
        self._log = log

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        self._log.write("train", state.step, values)

    def on_evaluation(self, event: EvalEvent) -> None:
        values = {n: e.mean for n, e in event.evaluation.metrics.items()}
        self._log.write("validation", event.state.step, {"epoch": event.state.history[-1]["epoch"], **values})

    def on_end(self) -> None:
        self._log.flush()

    def on_result(self, content: Mapping[str, Any]) -> None:
        metrics = {name: float(value["mean"]) for name, value in content["test"]["metrics"].items()}
        self._log.result(content["best_step"] or 0, metrics)


class SaveCheckpoint(Callback):
    """A checkpoint after each evaluation; the best is marked once it is on the disk."""

    part = "checkpoints"

    def __init__(self, save: Callable[[TrainState], None], checkpoints: Checkpoints, primary: str) -> None:
        self._save, self._checkpoints, self._primary = save, checkpoints, primary

    def on_evaluation(self, event: EvalEvent) -> None:
        self._save(event.state)
        if event.is_best:
            self._checkpoints.mark_best(event.state.step, event.evaluation.metrics[self._primary].mean)


class KeepIds(Callback):
    """Writes the ids of items and users beside the checkpoints, for a later warm start (`warm_start.write_ids`)."""

    part = "checkpoints"

    def __init__(self, write: Callable[[], None], world: World) -> None:
        self._write, self._world = write, world

    def on_evaluation(self, event: EvalEvent) -> None:
        if len(event.state.history) == 1:
            self._world.run_on_rank0(self._write)


class DrawCurves(Callback):
    """The picture of loss and validation metric, drawn beside the training by a thread of its own."""

    part = "curves"
    SECONDS_BETWEEN = 10.0
    """Least time between two pictures of a run that goes on; the last one is always drawn."""

    def __init__(self, path: Path, curves: Curves, world: World) -> None:
        """
        Args:
            curves: what the picture shows besides the history, which starts empty.
        """
        self._path, self._curves = path, curves
        self._pool = ThreadPoolExecutor(1) if world.is_rank0 else None
        self._drawing: Future[None] | None = None
        self._last = time.monotonic()

    def on_evaluation(self, event: EvalEvent) -> None:
        history = list(event.state.history)
        best = next((entry["epoch"] for entry in history if entry["step"] == event.state.best_step), None)
        self._curves = replace(self._curves, history=history, best_epoch=best)
        if time.monotonic() - self._last >= self.SECONDS_BETWEEN and (not self._drawing or self._drawing.done()):
            self._draw()

    def on_end(self) -> None:
        self._draw()

    def on_result(self, content: Mapping[str, Any]) -> None:
        measured = content["test"]["metrics"][self._curves.primary]
        test = Estimate(mean=measured["mean"], standard_error=measured["standard_error"])
        self._curves = replace(self._curves, best_epoch=content["best_epoch"], test=test)
        self._draw()
        self._wait()

    def _draw(self) -> None:
        """Start a picture of the evaluations so far."""
        self._wait()
        if self._pool and self._curves.history:
            self._last = time.monotonic()
            self._drawing = self._pool.submit(draw_curves, self._path, self._curves)

    def _wait(self) -> None:
        """Wait for the picture that is being drawn, and raise its error."""
        if self._drawing:
            self._drawing.result()
            self._drawing = None


class StopEarly(Callback):
    """Ends training when a target is reached, or when no evaluation was better for some time."""

    def __init__(self, patience: int = 0, target: tuple[str, float] | None = None) -> None:
        """
        Args:
            patience: evaluations without a better one (0: any number).
            target: metric and least value.
        """
        self._patience, self._target = patience, target

    def wants_stop(self, state: TrainState) -> bool:
        if self._target is not None and state.first_reaching(*self._target) is not None:
            return True
        return bool(self._patience) and state.evaluations_since_best() >= self._patience


class Convert(Callback):
    """Converts the export, each format in a process of its own."""

    part = "conversion"

    def __init__(self, formats: str, world: World, *, verbose: bool = True) -> None:
        """
        Args:
            formats: of `python -m serving convert --to`, separated by commas; "" for none.
            verbose: print the outcome of each.
        """
        self._formats, self._world, self._verbose = formats, world, verbose

    def on_export(self, folder: Path) -> bool:
        if not self._formats:
            return True
        done = conversion.convert(folder, self._formats, verbose=self._verbose) if self._world.is_rank0 else None
        return bool(self._world.broadcast(done))
