"""`Trainer`: trains any `Recommender` on one process or on the ranks of a job, to its verdict."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from recsys_core import devices, run_state
from recsys_core import world as worlds
from recsys_core.agreement import check_data
from recsys_core.config import ALL_USERS, HardwareConfig, RunConfig, plain
from recsys_core.config_changes import changed
from recsys_core.dataset import Dataset
from recsys_core.errors import SharedError, UserError
from recsys_core.evaluation.criteria import Criteria
from recsys_core.evaluation.gate import judge
from recsys_core.model import Recommender
from recsys_core.training import durations as timing
from recsys_core.training import finished, sizes, starting, summary
from recsys_core.training.callbacks import Callback, Callbacks
from recsys_core.training.durations import Durations
from recsys_core.training.progress import screen
from recsys_core.training.results import TrainResult, result_content, write_user_values
from recsys_core.training.run_folder import RunFolder, opened
from recsys_core.training.standard_callbacks import Baselines, standard_callbacks
from recsys_core.training.state import TrainState
from recsys_core.training.stop_signal import StopSignal
from recsys_core.training.task import RunSettings, TrainTask, check_task
from recsys_core.world import World


class Trainer:
    """Trains, evaluates, keeps the best checkpoint, judges it, and exports a model that passes."""

    takes_all_users: ClassVar[bool] = False
    """Whether it trains on the view of a data set in which nobody is held out."""

    def __init__(
        self,
        run_dir: Path | str | None = None,
        *,
        top_k: int = RunConfig.top_k,
        export_users: bool = False,
        convert: str = "",
        warm_start: Path | str | None = None,
        callbacks: Sequence[Callback] = (),
        verbose: bool = False,
        world: World | None = None,
        stop: StopSignal | None = None,
        durations: Durations | None = None,
        **changes: Any,
    ) -> None:
        """
        Args:
            run_dir: folder of the run, which must not exist yet; None for a temporary one.
            top_k: items the exported model recommends.
            export_users: export ids and histories of all users too.
            convert: formats to convert the export to, separated by commas.
            warm_start: folder of an older run from whose best checkpoint to start, items and users matched by id.
            callbacks: called after the standard ones.
            verbose: show a progress bar and the results; otherwise nothing is printed.
            world: the ranks (default: those of the open `world.session`, else this process alone).
            stop: a signal that the caller listens to (default: one that is listened to during `fit`).
            durations: times of what came before (default: times are counted from the start of `fit`).
            changes: settings of the training, the evaluation or the hardware, by their names in the configuration, as
                epochs=20; the others are the model's own.
        """
        self.run_dir = Path() if run_dir is None else Path(run_dir)
        """Folder of the run; a new temporary one for each `fit` if none was given."""
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._run: RunFolder
        self._schedule_epochs: int | None = None
        self._main_run: Path | None = None
        self.verbose, self.stop, self._changes = verbose, stop or StopSignal(), changes
        self._listens, self._to_do = stop is None, run_state.TRAIN
        self._has_folder, self.world = run_dir is not None, world or worlds.current()
        self._export: dict[str, Any] = {"top_k": top_k, "export_users": export_users}
        self._convert, self._callbacks = convert, tuple(callbacks)
        self.warm_start = str(Path(warm_start).absolute()) if warm_start else ""
        self._given_durations, self._durations = durations, durations or Durations()

    def child(self, name: str, settings: RunSettings) -> Trainer:
        """A trainer like this one in a folder of its own inside the run's, as for pre-training."""
        child = Trainer(
            self.run_dir / name,
            **self._export,
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
        settings = self._given_settings(model)
        return replace(settings, training=sizes.resolved(settings.training, model))

    def _given_settings(self, model: Recommender) -> RunSettings:
        """The settings before batch size and evaluation interval are chosen from the data."""
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
        with devices.only_errors_logged(), self.stop.in_fit(listens=self._listens), ExitStack() as self._held:
            self._begin()
            with self._durations.of("preparation"):
                task = self._make_task(model, data, resume)
                if self._to_do in (run_state.CONVERT, run_state.NOTHING):
                    say = self.say if self.verbose else None
                    left = finished.leave(self._run, task, self._convert, self.world, say)
                    return replace(self._result(), **left)
                self._say_plan(task, resume)
                state = self._start(task, resume)
            if state is None:
                self._run.interrupted(0, 0.0)
                return self._result()
            baselines = self._evaluate_baselines(task)
            callbacks = self._all_callbacks(task, state, baselines)
            if not self._train(task, state, callbacks):
                return self._interrupted(task, state, callbacks)
            return self._finish(task, state, baselines, callbacks)

    def _train(self, task: TrainTask, state: TrainState, callbacks: Callbacks) -> bool:
        """Take steps and evaluate, to the end of the run.

        Returns:
            False when a signal asked to stop before.
        """
        if state.step < task.plan.total_steps:
            self.announce("compiling the training step ...")
        batches = task.batches(state.step) if state.step < task.plan.total_steps else iter(())
        clock = time.perf_counter()
        if self.warm_start and not state.step:
            clock = self._evaluate(task, state, callbacks, clock)
        while state.step < task.plan.total_steps and not self.world.any(callbacks.wants_stop(state)):
            if self.stop.on_some_rank(self.world):
                return False
            self._take_steps(task, state, callbacks, batches)
            if task.plan.is_evaluated(state.step):
                clock = self._evaluate(task, state, callbacks, clock)
            clock = state.pass_time(clock)
        task.check_learnt(state)
        callbacks.on_end()
        return True

    def _evaluate(self, task: TrainTask, state: TrainState, callbacks: Callbacks, clock: float) -> float:
        """An evaluation on the validation users; returns the time after it, before the callbacks."""
        callbacks.on_evaluation_start(state)
        self._run.check()
        with self._durations.of("evaluation"):
            evaluation = task.evaluate()
        clock = state.pass_time(clock)
        keep_last = task.settings.training.keeps_last
        callbacks.on_evaluation(state.record_evaluation(task.plan, evaluation, task.primary, keep_last))
        return clock

    def _take_steps(self, task: TrainTask, state: TrainState, callbacks: Callbacks, batches: Any) -> None:
        """One inner loop, to the next evaluation at most."""
        count = task.plan.next_stop(state.step) - state.step
        started = time.perf_counter()
        with self._durations.of("steps"):
            values = task.train_step.run(batches, count)
        seconds = time.perf_counter() - started
        state.record_steps(count, float(values["loss"].astype("float64").sum()), seconds)
        self._compile_time.note(count, seconds)
        means = {name: float(column.mean()) for name, column in values.items()}
        means[f"{task.model.unit}_per_second"] = task.examples_per_step * count / seconds
        callbacks.on_steps(state, means)

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

    def announce(self, text: str) -> None:
        """Print on rank 0 what is about to take time, if this trainer is verbose."""
        if self.verbose and self.world.is_rank0:
            print(text, file=screen(), flush=True)

    def _begin(self) -> None:
        """Forget the signals and times of an earlier `fit`, and make a new temporary folder where none was given."""
        self._durations = self._given_durations or Durations()
        self._compile_time = timing.CompileTime()
        if self._listens:
            self.stop.forget()
        if not self._has_folder:
            self._temporary = tempfile.TemporaryDirectory(prefix="run-")
            self.run_dir = Path(self._temporary.name)

    def _checked(self, model: Recommender, data: Dataset, settings: RunSettings) -> Criteria:
        """The parsed evaluation settings of a training that can work; an error of rank 0 is raised by all ranks."""
        check_data(data, self.world)
        error = wanted = None
        try:
            if (data.view == ALL_USERS) != self.takes_all_users:
                raise ValueError(f"FinalFit, and nothing else, trains on data.viewed({ALL_USERS!r})")
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
        options = {**self._options(), **plain(settings)}
        common: dict[str, Any] = {"resume": resume, "world": self.world, "say": self.announce}
        self._run = self._held.enter_context(opened(self.run_dir, model, **common))
        begun = starting.begin(self._run, model, data, options, schedule_epochs=self._schedule_epochs, **common)
        self._to_do = begun.to_do
        return TrainTask(model, data, self.run_dir, settings, wanted, self.world, begun.schedule_epochs)

    def _options(self) -> dict[str, Any]:
        """The fields of the `RunConfig` besides folders and components."""
        return {**self._export, "convert": self._convert, "warm_start": self.warm_start}

    def _start(self, task: TrainTask, resume: bool) -> TrainState | None:
        """The state to go on from; None when a stop signal came during pre-training."""
        if task.model.is_closed_form:
            task.solve(self.announce)
            return TrainState()
        if resume and task.checkpoints.any():
            return task.restore(self.announce)
        with self._durations.of("pre-training"):
            if not task.model.initialise(self):
                return None
        return task.start_fresh()

    def _say_plan(self, task: TrainTask, resume: bool) -> None:
        """Tell the sizes of the data and of the run, and where there are few steps in an epoch."""
        if task.criteria.note:
            self.announce(f"note: {task.criteria.note}")
        if task.model.is_closed_form:
            return
        given = self._given_settings(task.model).training
        for line in summary.plan_lines(task, given, self.world.size):
            self.announce(line)
        if (note := sizes.few_steps(given, task.model)) and not resume and self.world.is_rank0:
            if self.verbose:
                self.announce(f"note: {note}")
            else:
                warnings.warn(note, stacklevel=4)

    def _evaluate_baselines(self, task: TrainTask) -> Baselines:
        with self._durations.of("baselines"):
            self.announce(f"evaluating baselines: {', '.join(task.criteria.baselines)} ...")
            return task.evaluate_baselines(self.announce)

    def _all_callbacks(self, task: TrainTask, state: TrainState, baselines: Baselines) -> Callbacks:
        """The standard callbacks in the order in which they are called, then the user's."""
        own = standard_callbacks(task, state, baselines, convert=self._convert, verbose=self.verbose, world=self.world)
        return Callbacks((*own, *self._callbacks), self._durations)

    def _interrupted(self, task: TrainTask, state: TrainState, callbacks: Callbacks) -> TrainResult:
        """Save a checkpoint and end; the run can be resumed."""
        self._run.check()
        task.save(state)
        callbacks.on_end()
        self._run.interrupted(state.step, state.step / task.plan.steps_per_epoch)
        folder = self._main_run or self.run_dir
        self.say(f"stopped by {self.stop.name} after step {state.step}; go on with --resume {folder}")
        return self._result()

    def _result(self) -> TrainResult:
        """Of a run that was interrupted."""
        return TrainResult(complete=False, run_dir=self.run_dir, temporary=self._temporary)

    def _finish(self, task: TrainTask, state: TrainState, baselines: Baselines, callbacks: Callbacks) -> TrainResult:
        """Evaluate the best checkpoint, judge it, export it if it passes, and tell the callbacks."""
        with self._durations.of("evaluation"):
            if not task.model.is_closed_form:
                task.checkpoints.restore_best()
            evaluations = task.evaluate_final()
        if self.stop.on_some_rank(self.world):
            self._run.interrupted(state.step, state.step / max(task.plan.steps_per_epoch, 1))
            self.say(f"stopped by {self.stop.name} before the export; go on with --resume {self.run_dir}")
            return self._result()
        beside = {name: b["valid"] for name, b in baselines.items()}
        verdicts = self.world.run_on_rank0(lambda: judge(task.criteria.conditions, evaluations["valid"], beside))
        content: dict[str, Any] = result_content(task, state, evaluations, baselines, verdicts, self.world.size)
        if self.verbose and self.world.is_rank0:
            print("\n".join(summary.verdict_lines(content, evaluations, baselines, verdicts)), flush=True)
        callbacks.on_result(content)
        self.world.run_on_rank0(lambda: write_user_values(task, evaluations, baselines))
        return self._publish(task, content, callbacks)

    def _publish(self, task: TrainTask, content: dict[str, Any], callbacks: Callbacks) -> TrainResult:
        """Write the result, export and convert a model that passed, and say what there is."""
        passed = content["gate"]["passed"]
        self._run.write_result(task, content, self._times)
        with self._durations.of("export"):
            if passed:
                self.announce("exporting ...")
                self._run.write_export(task, content, self._export, self._times)
        converted = callbacks.on_export(self.run_dir / "export") if passed else True
        if passed and converted:
            self._run.converted(self._convert)
        if self.verbose and self.world.is_rank0:
            print("\n".join(summary.end_lines(task, content, self._times())), flush=True)
        return replace(self._result(), complete=True, passed=passed, converted=converted, content=content)

    def _times(self) -> dict[str, float]:
        """Part of the run -> seconds; compiling is told apart from the steps."""
        seconds, compiling = self._durations.seconds(), self._compile_time.seconds
        if compiling:
            seconds |= {"steps": seconds["steps"] - compiling, "compiling": compiling}
        return seconds
