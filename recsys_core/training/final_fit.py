"""`FinalFit`: trains the settings of a finished run on all users, those too that it was judged on, for serving.

Nothing is measured: no user is left whom the model was not trained on. The result names the metrics of the judged run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import dacite

from recsys_core import run_manifest
from recsys_core.config import ALL_USERS, plain
from recsys_core.config_changes import changed, differences
from recsys_core.dataset import Dataset
from recsys_core.errors import SharedError, UserError
from recsys_core.evaluation.criteria import Criteria
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.model import Recommender
from recsys_core.training import callbacks as standard
from recsys_core.training.identity import FREE_OF_IDENTITY
from recsys_core.training.log import RunLog
from recsys_core.training.progress import ProgressReport
from recsys_core.training.results import TrainResult
from recsys_core.training.standard_callbacks import Baselines, ids_writer
from recsys_core.training.state import EvalEvent, TrainState
from recsys_core.training.task import RunSettings, TrainTask
from recsys_core.training.trainer import Trainer

FLAG = "--final-fit"
MEASURED = ("validation", "test", "baselines", "gate", "best_epoch", "data_set")
"""What a final fit takes from the result of the judged run."""


@dataclass(frozen=True, kw_only=True)
class JudgedRun:
    """A finished run that passed its gate."""

    folder: Path
    config: Mapping[str, Any]
    fingerprint: str | None
    schedule_epochs: int | None
    """See `RunManifest.schedule_epochs`."""
    result: Mapping[str, Any]
    """Its `result.json`."""

    @property
    def epochs(self) -> int:
        """Its best epoch."""
        return round(self.result["best_epoch"])


def read_judged_run(folder: Path, family: str, renamed: Mapping[str, str]) -> JudgedRun:
    """The run whose settings are trained on all users.

    Raises:
        UserError: no run, one that has not finished, missed its gate, or is a final fit itself.
    """
    run = run_manifest.read(folder, FLAG, family, renamed)
    if run.view:
        raise UserError(f"{FLAG}: {folder} is a final fit itself; name the run that it was made from")
    try:
        result = json.loads((folder / "result.json").read_text())
        passed, best = result["gate"]["passed"], result["best_epoch"]
    except FileNotFoundError:
        raise UserError(f"{FLAG}: {folder} has not finished; go on with --resume {folder}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{FLAG}: result.json of {folder} cannot be read ({error!r})") from None
    if not passed:
        raise UserError(
            f"{FLAG}: {folder} missed its gate; a model for serving is made of one that passed (--resume {folder} "
            "--gate CONDITION judges it by another condition)"
        )
    if not best:
        raise UserError(f"{FLAG}: {folder} was best before its first step; train from there with another learning rate")
    return JudgedRun(
        folder=folder,
        config=run.config,
        fingerprint=run.fingerprint,
        schedule_epochs=run.schedule_epochs,
        result=result,
    )


class FinalFit(Trainer):
    """A `Trainer` that trains the settings of a judged run on all users, to that run's best epoch, and exports."""

    takes_all_users = True

    def __init__(self, run_dir: Path | str | None = None, *, judged_run: Path | str, **options: Any) -> None:
        """
        Args:
            judged_run: folder of a finished run that passed its gate; it gives all settings of the training.
            options: see `Trainer`.
        """
        super().__init__(run_dir, **options)
        self._judged_folder = Path(judged_run).absolute()
        self._judged: JudgedRun | None = None

    @property
    def judged(self) -> JudgedRun:
        """The judged run; known during `fit`."""
        assert self._judged is not None, "fit reads the judged run first"
        return self._judged

    def fit(self, model: Recommender, data: Dataset, *, resume: bool = False) -> TrainResult:
        """Train a model on all users and export it.

        Args:
            model: made for `data`, with the settings of the judged run.
            data: the data set of the judged run, `viewed("all-users")`.
            resume: go on from the last checkpoint in `run_dir`.

        Raises:
            UserError: no such run, one that missed its gate, or other settings or another data set than its.
        """
        self._judged = self.world.run_on_rank0(
            lambda: read_judged_run(self._judged_folder, model.family, model.renamed)
        )
        self.warm_start = self.judged.config.get("warm_start") or ""
        self._schedule_epochs = self.judged.schedule_epochs
        return super().fit(model, data, resume=resume)

    def _given_settings(self, model: Recommender) -> RunSettings:
        """Those of the judged run; evaluation and hardware may be others."""
        given, config = super()._given_settings(model), self.judged.config
        training = _as_stored(model.training, config["training"])
        evaluation = _as_stored(model.evaluation, config["evaluation"])
        parts = {"training": training, "evaluation": evaluation, "hardware": given.hardware}
        found = changed(parts, {k: v for k, v in self._changes.items() if k != "hardware"})
        for name, theirs, ours in differences(training, found["training"], FREE_OF_IDENTITY):
            raise UserError(f"{FLAG}: {name} is {ours!r}, {self.judged.folder} has {theirs!r}; leave it out")
        return RunSettings(training=training, evaluation=found["evaluation"], hardware=given.hardware)

    def _checked(self, model: Recommender, data: Dataset, settings: RunSettings) -> Criteria:
        wanted = super()._checked(model, data, settings)
        config, folder = self.judged.config, self.judged.folder
        own = {name: plain(component) for name, component in model.settings.items()}
        theirs = {name: dict(config[name]) for name in own}
        for name, there, here in differences(theirs, own):
            if there is not None:  # a setting that the program had not yet
                raise SharedError(f"{FLAG}: {name.rpartition('.')[2]} is {here!r}, {folder} has {there!r}")
        if model.seed != config["training"]["seed"]:
            raise SharedError(f"{FLAG}: seed is {model.seed}, {folder} has {config['training']['seed']}")
        if self.judged.fingerprint not in (None, data.fingerprint):
            raise SharedError(f"{FLAG}: {folder} was trained on another data set than {data.name}")
        return wanted

    def _options(self) -> dict[str, Any]:
        return {**super()._options(), "final_fit": str(self._judged_folder)}

    def _make_task(self, model: Recommender, data: Dataset, resume: bool) -> TrainTask:
        """The task of the whole run, so that its schedules are the judged run's; its steps end at the best epoch."""
        task = super()._make_task(model, data, resume)
        task.plan = replace(task.plan, total_steps=self.judged.epochs * task.plan.steps_per_epoch)
        return task

    def _say_plan(self, task: TrainTask, resume: bool) -> None:
        training, data = task.settings.training, task.data
        self.announce(
            f"final fit of {self.judged.folder}: all {data.n_users:,} users and {data.n_items:,} items, "
            f"{self.judged.epochs:,} of {training.epochs:,} epochs of {task.plan.steps_per_epoch:,} steps; nobody is "
            "held out, and nothing is measured"
        )

    def _evaluate_baselines(self, task: TrainTask) -> Baselines:
        return {}

    def _all_callbacks(self, task: TrainTask, state: TrainState, baselines: Baselines) -> standard.Callbacks:
        bar = ProgressReport(
            total_steps=task.plan.total_steps,
            steps_per_epoch=max(task.plan.steps_per_epoch, 1),
            start_step=state.step,
            enabled=self.verbose and self.world.is_rank0,
            unit=task.model.unit,
        )
        log = RunLog(task.run_dir, self.world, state.step)
        log.hyperparameters({"preset": task.model.preset, **plain(task.model.settings), **plain(task.settings)})
        own = (
            _ShowFit(bar),
            _WriteSteps(log),
            standard.SaveCheckpoint(task.save, task.checkpoints, task.primary),
            standard.KeepIds(ids_writer(task), self.world),
            standard.Convert(self._convert, self.world, verbose=self.verbose),
        )
        return standard.Callbacks((*own, *self._callbacks), self._durations)

    def _evaluate(self, task: TrainTask, state: TrainState, callbacks: standard.Callbacks, clock: float) -> float:
        """A checkpoint where the judged run was evaluated, and the mean of the parameters where it took one."""
        task.update_averages()
        state.history.append(
            {
                "step": state.step,
                "epoch": state.step / task.plan.steps_per_epoch,
                "loss": state.loss_sum / state.loss_steps if state.loss_steps else None,
                "trained_seconds": state.trained_seconds,
                "seconds": state.seconds,
                "validation": {},
                "validation_errors": {},
            }
        )
        state.loss_sum, state.loss_steps = 0.0, 0
        nothing = Evaluation(metrics={}, users=0, users_without_relevant=0)
        callbacks.on_evaluation(EvalEvent(state=state, evaluation=nothing, is_best=False))
        return clock

    def _finish(
        self, task: TrainTask, state: TrainState, baselines: Baselines, callbacks: standard.Callbacks
    ) -> TrainResult:
        """Export the last checkpoint, with the metrics of the judged run."""
        primary = self.judged.result["validation"]["metrics"][task.primary]["mean"]
        task.checkpoints.mark_best(state.step, primary)
        task.checkpoints.restore_best()
        content = self._content(task, state)
        callbacks.on_result(content)
        return self._publish(task, content, callbacks)

    def _content(self, task: TrainTask, state: TrainState) -> dict[str, Any]:
        """The content of `result.json`."""
        unit, judged = task.model.unit, self.judged
        return {
            "judged_run": {"run": str(judged.folder), **{name: judged.result.get(name) for name in MEASURED}},
            "gate": {**judged.result["gate"], "judged_on": str(judged.folder)},
            "history": state.history,
            "best_step": state.step,
            "best_epoch": state.step / max(task.plan.steps_per_epoch, 1),
            "steps": state.step,
            "trained_seconds": state.trained_seconds,
            "seconds": state.seconds,
            f"{unit}_per_second": state.step * task.examples_per_step / max(state.trained_seconds, 1e-9),
            "target": None,
            "world_size": self.world.size,
            "data_set": task.data.fingerprint,
            "view": ALL_USERS,
            "users": task.data.n_users,
            "items": task.data.n_items,
        }


def _as_stored(like: Any, stored: Mapping[str, Any]) -> Any:
    """A component with the values of a run's configuration."""
    known = {f.name for f in fields(like)}
    values = plain(like) | {name: value for name, value in stored.items() if name in known}
    return dacite.from_dict(type(like), values, dacite.Config(cast=[tuple], type_hooks={float: float}))


class _ShowFit(standard.ShowProgress):
    """A progress bar, and a line for each checkpoint."""

    def on_evaluation(self, event: EvalEvent) -> None:
        self._bar.evaluated(event.state.step, "checkpoint")


class _WriteSteps(standard.WriteLog):
    """Lines for training steps only."""

    def on_evaluation(self, event: EvalEvent) -> None:
        del event

    def on_result(self, content: Mapping[str, Any]) -> None:
        del content
