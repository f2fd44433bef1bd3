"""Lines for the user: the plan of a run before it starts, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_core import runs
from recsys_core.config import TrainingConfig
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.evaluation.gate import Verdict
from recsys_core.evaluation.tables import gate_lines, result_table
from recsys_core.training import durations, sizes
from recsys_core.training.task import TrainTask


def plan_lines(task: TrainTask, given: TrainingConfig, ranks: int) -> list[str]:
    """Sizes of the data and of the run, and a note where ranks have little to do.

    Args:
        given: the settings before batch size and evaluation interval were chosen from the data.
    """
    model, training, steps = task.model, task.settings.training, task.plan.steps_per_epoch
    chosen = "" if given.batch_size else " (from the data)"
    plan = (
        f"{model.examples_per_epoch:,} {model.unit} in batches of {training.batch_size:,}{chosen}: {steps:,} steps an "
        f"epoch, {training.epochs:,} epochs, an evaluation every {training.evaluate_every:,}; {task.precision.name}, "
        f"{ranks} process{'es' if ranks > 1 else ''}"
    )
    note = sizes.small_shares(training, model, ranks)
    return [plan, f"note: {note}"] if note else [plan]


def verdict_lines(
    content: Mapping[str, Any],
    evaluations: Mapping[str, Evaluation],
    baselines: Mapping[str, Mapping[str, Evaluation]],
    verdicts: Sequence[Verdict],
) -> list[str]:
    """The table of test users and the verdict.

    Args:
        content: of `result.json`.
        evaluations: "test" -> the best checkpoint's.
    """
    return [
        f"\ntest users, best checkpoint (epoch {content['best_epoch']:.0f}):",
        result_table(evaluations["test"], {name: b["test"] for name, b in baselines.items()}),
        f"\n{gate_lines(verdicts, content['gate']['chosen_on_same_users'])}",
    ]


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
        kept = f"; {run_dir / 'export'} stays as it was exported before" if (run_dir / "export").is_dir() else ""
        lines.append(
            f"nothing exported{kept}; train longer (--epochs), take another preset, or accept this model with another "
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
