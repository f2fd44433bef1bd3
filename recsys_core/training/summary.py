"""Lines for the user: the plan of a run before it starts, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_core import runs
from recsys_core.config import TrainingConfig
from recsys_core.training import durations
from recsys_core.training.task import TrainTask


def plan_line(task: TrainTask, given: TrainingConfig, ranks: int) -> str:
    """Sizes of the data and of the run.

    Args:
        given: the settings before batch size and evaluation interval were chosen from the data.
    """
    model, training, steps = task.model, task.settings.training, task.plan.steps_per_epoch
    chosen = "" if given.batch_size else " (from the data)"
    return (
        f"{model.examples_per_epoch:,} {model.unit} in batches of {training.batch_size:,}{chosen}: {steps:,} steps an "
        f"epoch, {training.epochs:,} epochs, an evaluation every {training.evaluate_every:,}; {task.precision.name}, "
        f"{ranks} process{'es' if ranks > 1 else ''}"
    )


def end_lines(task: TrainTask, content: Mapping[str, Any], seconds: Mapping[str, float]) -> list[str]:
    """What was reached, where the time went, what is in the folder of the run, and what to do next.

    Args:
        content: of `result.json`.
        seconds: part of the run -> its seconds.
    """
    run_dir, unit = task.run_dir, task.model.unit
    lines = [_target_line(content["target"])] if content["target"] is not None else []
    if not task.model.is_closed_form:
        speed = content[f"{unit}_per_second"]
        lines.append(f"trained {content['trained_seconds']:.1f} s at {speed:,.0f} {unit}/s")
    lines.append(durations.line(seconds))
    if not content["gate"]["passed"]:
        lines.append(
            "nothing exported; train longer (--epochs), take another preset, or accept this model with another "
            f"condition: --resume {run_dir} --gate {task.primary}:VALUE"
        )
    lines.append(f"{run_dir} holds {', '.join(_names(run_dir))}")
    lines.append(f"curves of all values: tensorboard --logdir {run_dir}")
    return lines


def _names(run_dir: Path) -> list[str]:
    return [name for name in runs.FILES if (run_dir / name).exists()]


def _target_line(target: Mapping[str, Any]) -> str:
    if not target["reached"]:
        return f"target {target['condition']} was not reached"
    return (
        f"target {target['condition']} reached in epoch {target['epoch']:.0f} after {target['trained_seconds']:.1f} s "
        f"of training, {target['seconds']:.1f} s with evaluations"
    )
