"""`Trainer`: trains any `Recommender` on one process or on the ranks of a job, to its verdict."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys_core import devices, export, runs
from recsys_core import world as worlds
from recsys_core.config import HardwareConfig, RunConfig, changed, plain
from recsys_core.dataset import Dataset
from recsys_core.errors import SharedError, UserError
from recsys_core.evaluation.criteria import Criteria
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.evaluation.gate import judge
from recsys_core.evaluation.tables import gate_lines, result_table
from recsys_core.files import write_json
from recsys_core.model import Recommender
from recsys_core.run_manifest import RunManifest
from recsys_core.training import callbacks as standard
from recsys_core.training.callbacks import Callback
from recsys_core.training.log import RunLog
from recsys_core.training.progress import ProgressReport
from recsys_core.training.results import TrainResult, result_content
from recsys_core.training.state import TrainState
from recsys_core.training.stop_signal import StopSignal
from recsys_core.training.task import RunSettings, TrainTask, check_same_data, check_task
from recsys_core.world import World

Baselines = Mapping[str, Mapping[str, Evaluation]]


class Trainer:
    """Trains, evaluates, keeps the best checkpoint, judges it, and exports a model that passes."""

    def __init__(
        self,
        run_dir: Path | str | None = None,
        *,
        top_k: int = RunConfig.top_k,
        convert: str = "",
        callbacks: Sequence[Callback] = (),
        verbose: bool = False,
        world: World | None = None,
        stop: StopSignal | None = None,
        **changes: Any,
    ) -> None:
        """
        Args:
            run_dir: folder of the run, which must not exist yet; None for a temporary one.
            top_k: items the exported model recommends.
            convert: formats to convert the export to, separated by commas.
            callbacks: called after the standard ones.
            verbose: show a progress bar and the results; otherwise nothing is printed.
            world: the ranks (default: those of the open `world.session`, else this process alone).
            stop: a signal that the caller listens to (default: one that is listened to during `fit`).
            changes: settings of the training, the evaluation or the hardware, by their names in the configuration, as
                epochs=20; the others are the model's own.
        """
        self.run_dir = Path() if run_dir is None else Path(run_dir)
        """Folder of the run; a new temporary one for each `fit` if none was given."""
        self._has_folder = run_dir is not None
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._main_run: Path | None = None
        self.verbose, self.stop, self._changes = verbose, stop or StopSignal(), changes
        self._listens = stop is None
        self.world = world or worlds.current()
        self._top_k, self._convert, self._callbacks = top_k, convert, tuple(callbacks)

    def child(self, name: str, settings: RunSettings) -> Trainer:
        """A trainer like this one in a folder of its own inside the run's, as for pre-training."""
        child = Trainer(
            self.run_dir / name,
            top_k=self._top_k,
            verbose=self.verbose,
            world=self.world,
            stop=self.stop,
            training=settings.training,
            evaluation=settings.evaluation,
            hardware=settings.hardware,
        )
        child._main_run = self._main_run or self.run_dir
        return child

    def settings(self, model: Recommender) -> RunSettings:
        """The settings with which this trainer trains a model.

        Raises:
            UserError: an unknown setting (the known ones are listed), or a value that cannot be used.
        """
        if "seed" in self._changes:
            raise UserError("seed is a setting of the model; give it there, as MultVae(data, seed=7)")
        own = {"training": model.training, "evaluation": model.evaluation, "hardware": HardwareConfig()}
        try:
            found = changed(own, self._changes)
        except ValueError as error:
            raise UserError(f"Trainer: {error}") from None
        return RunSettings(**found | {"training": replace(found["training"], seed=model.seed)})

    def fit(self, model: Recommender, data: Dataset, *, resume: bool = False) -> TrainResult:
        """Train a model to its verdict.

        Args:
            model: made for `data`; ends with the parameters of the best checkpoint.
            resume: go on from the last checkpoint in `run_dir`, as if never stopped.

        Raises:
            UserError: settings, data set or disk are wrong. NonFiniteError: the loss or a gradient is not finite.
        """
        with devices.only_errors_logged(), self.stop.listening() if self._listens else nullcontext():
            self._begin()
            task = self._make_task(model, data, resume)
            state = self._start(task, resume)
            if state is None:
                return self._result()
            baselines = task.evaluate_baselines()
            callbacks = self._all_callbacks(task, state, baselines)
            batches = task.batches(state.step) if state.step < task.plan.total_steps else iter(())
            clock = time.perf_counter()
            while state.step < task.plan.total_steps and not self._is_over(state, callbacks):
                if self.world.any(self.stop.received):
                    return self._interrupted(task, state, callbacks)
                count = task.plan.next_stop(state.step) - state.step
                started = time.perf_counter()
                values = task.train_step.run(batches, count)
                seconds = time.perf_counter() - started
                state.record_steps(count, float(values["loss"].astype("float64").sum()), seconds)
                means = {name: float(column.mean()) for name, column in values.items()}
                means[f"{model.unit}_per_second"] = task.examples_per_step * count / seconds
                for callback in callbacks:
                    callback.on_steps(state, means)
                if task.plan.is_evaluated(state.step):
                    evaluation = task.evaluate()
                    clock = _advance(state, clock)
                    event = state.record_evaluation(
                        task.plan, evaluation, task.primary, task.settings.training.keeps_last
                    )
                    for callback in callbacks:
                        callback.on_evaluation(event)
                clock = _advance(state, clock)
            task.check_learnt(state)
            for callback in callbacks:
                callback.on_end()
            return self._finish(task, state, baselines, callbacks)

    def restore_best(self, model: Recommender, data: Dataset) -> None:
        """Give a model the best checkpoint of the run in `run_dir`.

        Raises:
            SharedError: there is none, or it is of a run with other settings.
        """
        settings = self.settings(model)
        task = TrainTask(model, data, self.run_dir, settings, self._checked(model, data, settings), self.world)
        task.checkpoints.restore_best(task.check_identity)

    def say(self, text: str) -> None:
        """Print on rank 0, if this trainer is verbose."""
        if self.verbose and self.world.is_rank0:
            print(text, flush=True)

    def _begin(self) -> None:
        """Forget the signals of an earlier `fit`, and make a new temporary folder where none was given."""
        if self._listens:
            self.stop.received = False
        if not self._has_folder:
            self._temporary = tempfile.TemporaryDirectory(prefix="run-")
            self.run_dir = Path(self._temporary.name)

    def _is_over(self, state: TrainState, callbacks: Sequence[Callback]) -> bool:
        """Whether some callback of some rank wants the training to end."""
        return self.world.any(any(callback.wants_stop(state) for callback in callbacks))

    def _checked(self, model: Recommender, data: Dataset, settings: RunSettings) -> Criteria:
        """The parsed evaluation settings of a training that can work; an error of rank 0 is raised by all ranks."""
        check_same_data(data.fingerprint, self.world)
        error = wanted = None
        try:
            wanted = check_task(model, data, settings, self.world.size)
        except ValueError as found:
            error = str(found)
        if of_rank0 := self.world.broadcast(error):
            raise SharedError(of_rank0)
        if error:  # found on this rank only: its copy of the data set is damaged
            raise UserError(error)
        assert wanted is not None
        return wanted

    def _make_task(self, model: Recommender, data: Dataset, resume: bool) -> TrainTask:
        settings = self.settings(model)
        wanted = self._checked(model, data, settings)
        manifest = RunManifest(
            family=model.family,
            config=self._configuration(model, data, settings),
            data=data.folder,
            fingerprint=data.fingerprint,
            view=data.view,
            environment=devices.describe(self.world),
            items=data.item_digest,
            users=data.user_digest,
        )
        runs.create(self.run_dir, manifest, resume=resume, renamed=model.renamed, world=self.world)
        return TrainTask(model, data, self.run_dir, settings, wanted, self.world)

    def _configuration(self, model: Recommender, data: Dataset, settings: RunSettings) -> dict[str, Any]:
        """The whole configuration as plain values, in the form of a family's `RunConfig`."""
        return {
            "data": str(data.folder.absolute()) if data.folder else None,
            "run_dir": str(self.run_dir.absolute()),
            "preset": model.preset,
            "top_k": self._top_k,
            "convert": self._convert,
            **{name: plain(component) for name, component in model.settings.items()},
            **plain(settings),
        }

    def _start(self, task: TrainTask, resume: bool) -> TrainState | None:
        """The state to go on from; None when a stop signal came during pre-training."""
        if task.model.is_closed_form:
            task.solve()
            return TrainState()
        if resume and task.checkpoints.any():
            return task.restore()
        if not task.model.initialise(self):
            return None
        return task.start_fresh()

    def _all_callbacks(self, task: TrainTask, state: TrainState, baselines: Baselines) -> list[Callback]:
        """The standard callbacks in the order in which they are called, then the user's."""
        bar = ProgressReport(
            total_steps=task.plan.total_steps,
            steps_per_epoch=max(task.plan.steps_per_epoch, 1),
            start_step=state.step,
            enabled=self.verbose and self.world.is_rank0 and not task.model.is_closed_form,
            unit=task.model.unit,
        )
        lines = {name: b["valid"].metrics[task.primary].mean for name, b in baselines.items()}
        return [
            standard.ShowProgress(bar),
            standard.WriteLog(RunLog(self.run_dir, self.world, state.step)),
            standard.SaveCheckpoint(task.save, task.checkpoints, task.primary),
            standard.DrawCurves(self.run_dir / "curves.png", task.primary, lines, self.world),
            standard.StopEarly(task.settings.training.patience, task.target),
            standard.Convert(self._convert, self.world, verbose=self.verbose),
            *self._callbacks,
        ]

    def _interrupted(self, task: TrainTask, state: TrainState, callbacks: Sequence[Callback]) -> TrainResult:
        """Save a checkpoint and end; the run can be resumed."""
        task.save(state)
        for callback in callbacks:
            callback.on_end()
        self.say(f"stopped by a signal after step {state.step}; go on with --resume {self._main_run or self.run_dir}")
        return self._result()

    def _result(self) -> TrainResult:
        """The result of a run that was interrupted."""
        return TrainResult(complete=False, run_dir=self.run_dir, temporary=self._temporary)

    def _finish(
        self, task: TrainTask, state: TrainState, baselines: Baselines, callbacks: Sequence[Callback]
    ) -> TrainResult:
        """Evaluate the best checkpoint, judge it, export it if it passes, and tell the callbacks of the export."""
        if not task.model.is_closed_form:
            task.checkpoints.restore_best()
        evaluations = task.evaluate_final()
        if self.world.any(self.stop.received):
            self.say(f"stopped by a signal before the export; go on with --resume {self.run_dir}")
            return self._result()
        verdicts = judge(task.criteria.conditions, evaluations["valid"], {n: b["valid"] for n, b in baselines.items()})
        content = result_content(task, state, evaluations, baselines, verdicts, self.world.size)
        passed = content["gate"]["passed"]
        started = time.perf_counter()
        self.world.run_on_rank0(lambda: self._write_result(task, content))
        if self.verbose and self.world.is_rank0:
            print(f"\ntest users, best checkpoint (epoch {content['best_epoch']:.0f}):")
            print(result_table(evaluations["test"], {name: b["test"] for name, b in baselines.items()}))
            print(f"\n{gate_lines(verdicts)}")
            self._print_end(task, content, time.perf_counter() - started)
        outcomes = [callback.on_export(self.run_dir / "export") for callback in callbacks if passed]
        return replace(self._result(), complete=True, passed=passed, converted=all(outcomes), content=content)

    def _write_result(self, task: TrainTask, content: Mapping[str, Any]) -> None:
        """Export a model that passed, then write `result.json`: it must not name an export that failed."""
        folder = self.run_dir / "export"
        if content["gate"]["passed"]:
            export.write_export(folder, task.model, task.data, top_k=self._top_k, result=content)
        else:  # a run resumed with a stricter gate
            shutil.rmtree(folder, ignore_errors=True)
        write_json(self.run_dir / "result.json", content)

    def _print_end(self, task: TrainTask, content: Mapping[str, Any], export_seconds: float) -> None:
        if (target := content["target"]) is not None:
            print(_target_line(target))
        unit = task.model.unit
        speed = f"trained {content['trained_seconds']:.1f} s at {content[f'{unit}_per_second']:,.0f} {unit}/s; "
        exported = f"exported in {export_seconds:.1f} s" if content["gate"]["passed"] else "nothing exported"
        print("" if task.model.is_closed_form else speed, exported, sep="")
        for name in runs.FILES:
            if (self.run_dir / name).exists():
                print(f"  {self.run_dir / name}")


def _advance(state: TrainState, clock: float) -> float:
    """Add the time since `clock` to the run's seconds; returns the time now."""
    now = time.perf_counter()
    state.seconds += now - clock
    return now


def _target_line(target: Mapping[str, Any]) -> str:
    if not target["reached"]:
        return f"target {target['condition']} was not reached"
    return (
        f"target {target['condition']} reached in epoch {target['epoch']:.0f} after {target['trained_seconds']:.1f} s "
        f"of training, {target['seconds']:.1f} s with evaluations"
    )
