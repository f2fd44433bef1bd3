"""One run from data to verdict: baselines, training, the best checkpoint, test, gate, export."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

from recsys_core import report
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.files import write_json
from recsys_core.run_folder import RunLog
from recsys_core.training import loop
from recsys_core.training.experiment import Outcome, Run


def conduct(run: Run, *, resume: bool) -> Outcome:
    """Train, evaluate, judge, export.

    Returns:
        The outcome; `exit_status` is 3 when the gate was missed.

    Raises:
        NonFiniteError: training went astray. ValueError: bad input or a full disk.
    """
    world, speaking = run.world, run.world.is_first
    progress = run.start(resume)
    baselines = run.evaluate_baselines()
    primary = str(run.criteria.primary)
    lines = {name: b["valid"].metrics[primary].mean for name, b in baselines.items()}
    shown = report.ProgressReport(
        total_steps=run.plan.total_steps,
        steps_per_epoch=run.plan.steps_per_epoch,
        start_step=progress.step,
        enabled=speaking,
        unit=run.experiment.unit,
    )
    log = RunLog(run.run_dir, world)

    def note(step: int, values: dict[str, float]) -> None:
        shown.update(step, values)
        log.write("train", step, values)

    with loop.StopSignal().listening() as stop:
        complete = loop.run(
            run.train_step,
            iter(run.experiment.batches(progress.step, run.plan.total_steps)),
            run.plan,
            progress,
            examples_per_step=run.experiment.examples_per_epoch / run.plan.steps_per_epoch,
            unit=run.experiment.unit,
            evaluate=run.evaluate,
            primary=primary,
            target=run.target,
            patience=run.training.patience,
            keep_last=run.experiment.keep_last,
            actions=run.actions(log, shown, lines),
            report=note,
            on_interrupt=run.save,
            stop=stop,
            world=world,
        )
    shown.close()
    log.close()
    if not complete:
        if speaking:
            print(f"stopped by SIGTERM after step {progress.step}; go on with --resume --run-dir {run.run_dir}")
        return Outcome(complete=False)
    return _finish(run, progress, baselines)


def _finish(run: Run, progress: loop.Progress, baselines: Mapping[str, Mapping[str, Evaluation]]) -> Outcome:
    """Everything after training, with the best checkpoint's parameters."""
    run.checkpoints.restore_best()
    valid, test = (run.final_evaluators[split].evaluate(run.experiment.scorer) for split in ("valid", "test"))
    result, verdicts = run.result(progress, valid, test, baselines)
    passed = result["gate"]["passed"]

    def write() -> None:
        if passed:  # an export that fails leaves no result behind that claims one
            run.experiment.export(run.run_dir / "export", result)
        else:  # a run resumed with a stricter gate
            shutil.rmtree(run.run_dir / "export", ignore_errors=True)
        write_json(run.run_dir / "result.json", result)

    started = time.perf_counter()
    run.world.on_first(write)
    if run.world.is_first:
        print(f"\ntest users, best checkpoint (epoch {result['best_epoch']:.0f}):")
        print(report.result_table(test, {name: b["test"] for name, b in baselines.items()}))
        print(f"\n{report.gate_lines(verdicts)}")
        if (reached := result["target"]) is not None:
            print(_target_line(reached))
        unit = run.experiment.unit
        print(f"trained {progress.trained_seconds:.1f} s at {result[f'{unit}_per_second']:,.0f} {unit}/s; ", end="")
        print(f"exported in {time.perf_counter() - started:.1f} s" if passed else "nothing exported")
        for name in (
            "config.yaml",
            "environment.json",
            "metrics.jsonl",
            "tensorboard",
            "curves.png",
            "checkpoints",
            "result.json",
            "export",
        ):
            if (run.run_dir / name).exists():
                print(f"  {run.run_dir / name}")
    return Outcome(complete=True, passed=passed, result=result)


def _target_line(target: Mapping[str, Any]) -> str:
    if not target["reached"]:
        return f"target {target['condition']} was not reached"
    return (
        f"target {target['condition']} reached in epoch {target['epoch']:.0f} after {target['trained_seconds']:.1f} s "
        f"of training, {target['seconds']:.1f} s with evaluations"
    )
