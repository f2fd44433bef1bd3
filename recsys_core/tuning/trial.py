"""A trial: a model trained with some settings and judged on validation users, without files that stay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recsys_core.config import ModelSpec
from recsys_core.dataset import Dataset
from recsys_core.training.callbacks import Callback, Callbacks, StopEarly
from recsys_core.training.results import TrainResult
from recsys_core.training.standard_callbacks import Baselines
from recsys_core.training.state import TrainState
from recsys_core.training.stop_signal import StopSignal
from recsys_core.training.task import TrainTask
from recsys_core.training.trainer import Trainer
from recsys_core.tuning.spaces import with_settings
from recsys_core.world import World


def without_test_users(data: Dataset) -> Dataset:
    """The data set as a search sees it: in place of its test users it has its validation users once more."""
    data.held_out("valid")  # raises where it is not split
    return replace(data, test=data.valid)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all trials of a search have in common."""

    spec: ModelSpec
    preset: str
    data: Dataset
    """As `without_test_users` gives it."""
    metric: str
    seed: int
    evaluate_every: int

    def config(self, settings: Mapping[str, Any]) -> Any:
        """The configuration of a trial.

        Raises:
            ValueError: settings that do not go together.
        """
        config = with_settings(self.spec.presets[self.preset].config, settings)
        training = replace(config.training, seed=self.seed, evaluate_every=self.evaluate_every)
        evaluation = replace(config.evaluation, primary=self.metric, metrics=(self.metric,), final_metrics=())
        return replace(config, training=training, evaluation=evaluation)


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The best evaluation of a trial."""

    value: float
    error: float | None
    epoch: float
    is_whole: bool
    """Whether it was trained for all its epochs."""


class TrialTrainer(Trainer):
    """Trains and evaluates on validation users; no baselines, log, checkpoints, test, gate or export."""

    def _evaluate_baselines(self, task: TrainTask) -> Baselines:
        del task
        return {}

    def _all_callbacks(self, task: TrainTask, state: TrainState, baselines: Baselines) -> Callbacks:
        del state, baselines
        return Callbacks((StopEarly(task.settings.training.patience), *self._callbacks), self._durations)

    def _finish(self, task: TrainTask, state: TrainState, baselines: Baselines, callbacks: Callbacks) -> TrainResult:
        """The history of the training, without another evaluation; a closed form is evaluated here."""
        del baselines
        if task.model.is_closed_form:
            callbacks.on_evaluation(state.record_evaluation(task.plan, task.evaluate(), task.primary, False))
        content = {"history": state.history, "best_step": state.best_step}
        return replace(self._result(), complete=True, passed=True, content=content)


def run(task: Task, settings: Mapping[str, Any], folder: Path, callback: Callback, world: World) -> TrialResult:
    """Train a model with some settings.

    Args:
        folder: for the files of the training; must not exist.
        callback: is told of every evaluation, and may end the training.

    Raises:
        ValueError: settings that do not go together or with the data. NonFiniteError: the training diverged.
    """
    config = task.config(settings)
    kind = task.spec.model_class(task.preset)
    components = {name: getattr(config, name) for name in kind.configs}
    model = kind(task.data, preset=task.preset, seed=task.seed, **components)
    trainer = TrialTrainer(
        folder,
        callbacks=[callback],
        world=world,
        stop=StopSignal(),
        training=config.training,
        evaluation=config.evaluation,
        hardware=config.hardware,
    )
    content = trainer.fit(model, task.data).content
    assert content is not None, "a trial is not interrupted"
    best = next(entry for entry in content["history"] if entry["step"] == content["best_step"])
    (value,), (error,) = best["validation"].values(), best["validation_errors"].values()
    if not math.isfinite(value):
        raise ValueError(f"{task.metric} is {value}")
    is_whole = content["history"][-1]["epoch"] >= config.training.epochs
    return TrialResult(value=float(value), error=error, epoch=float(best["epoch"]), is_whole=is_whole)
