"""The callbacks of every run, in the order in which they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recsys_core import warm_start
from recsys_core.config import plain
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.training import callbacks
from recsys_core.training.curves import Curves, gate_values
from recsys_core.training.log import RunLog
from recsys_core.training.progress import ProgressReport
from recsys_core.training.state import TrainState
from recsys_core.training.task import TrainTask
from recsys_core.world import World

Baselines = Mapping[str, Mapping[str, Evaluation]]
"""Baseline -> split -> evaluation."""


def standard_callbacks(
    task: TrainTask, state: TrainState, baselines: Baselines, *, convert: str, verbose: bool, world: World
) -> list[callbacks.Callback]:
    """Progress, log, checkpoints, curves, stopping early, conversion.

    Args:
        convert: formats to convert the export to, separated by commas.
        verbose: show progress and the outcome of conversions.
    """
    bar = ProgressReport(
        total_steps=task.plan.total_steps,
        steps_per_epoch=max(task.plan.steps_per_epoch, 1),
        start_step=state.step,
        enabled=verbose and world.is_rank0 and not task.model.is_closed_form,
        unit=task.model.unit,
    )
    lines = {name: b["valid"].metrics[task.primary].mean for name, b in baselines.items()}
    model, primary = task.model, task.primary
    preset = f", preset {model.preset}" if model.preset else ""
    curves = Curves(
        title=f"{type(model).__name__}{preset}{_data_set(task)}",
        history=(),
        primary=primary,
        loss_unit=f"nats per {model.unit.removesuffix('s')}",
        gate=gate_values(task.criteria.conditions, primary, lines),
        baselines=lines,
    )
    log = RunLog(task.run_dir, world, state.step)
    log.hyperparameters({"preset": task.model.preset, **plain(task.model.settings), **plain(task.settings)})
    return [
        callbacks.ShowProgress(bar),
        callbacks.WriteLog(log),
        callbacks.SaveCheckpoint(task.save, task.checkpoints, task.primary),
        callbacks.KeepIds(ids_writer(task), world),
        callbacks.DrawCurves(task.run_dir / "curves.png", curves, world),
        callbacks.StopEarly(task.settings.training.patience, task.target),
        callbacks.Convert(convert, world, verbose=verbose),
    ]


def ids_writer(task: TrainTask) -> Callable[[], None]:
    """Writes the ids of the task's items and training users beside its checkpoints."""
    return lambda: warm_start.write_ids(task.run_dir / "checkpoints", task.data)


def _data_set(task: TrainTask) -> str:
    """The data set's folder without its path, for a title."""
    return f", data set {task.data.folder.name}" if task.data.folder else ""
