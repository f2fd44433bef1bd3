"""The parts of one run, for any model, wired together; `conduct` tells the story.

The model gives a loss, its variables and a scorer; everything that has to do with files, ranks and order is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core import report
from recsys_core.config import EvaluationConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.distributed import World
from recsys_core.evaluation import baselines as baseline_models
from recsys_core.evaluation.criteria import criteria
from recsys_core.evaluation.evaluator import Evaluation, Evaluator, Scorer
from recsys_core.evaluation.gate import Verdict, judge
from recsys_core.evaluation.metrics import Metric
from recsys_core.run_folder import RunLog
from recsys_core.training import loop
from recsys_core.training.averaging import Averages
from recsys_core.training.checkpoint import Checkpoints
from recsys_core.training.optimizer import Adam
from recsys_core.training.schedules import learning_rate
from recsys_core.training.step import LossFunction, TrainStep

GATE_MISSED = 3
"""Exit status of a run whose model is not good enough."""
CONVERSION_FAILED = 5
"""Exit status of a run whose model is good, but could not be converted as asked."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a model brings."""

    model: tf.Module
    loss: LossFunction
    terms: Sequence[str]
    """Names of the loss terms, "loss" first."""
    parameters: Sequence[tf.Variable]
    kernels: Sequence[tf.Variable]
    """The parameters that L2 and weight decay act on."""
    scorer: Scorer
    by_rows: Sequence[tf.Variable] = ()
    """Embedding tables whose gradients go by rows (see `embedding`)."""
    keep_last: bool = False
    """Whether the last checkpoint is taken instead of the best: nothing is left to choose it by."""
    batches: Callable[[int, int], tf.data.Dataset]
    """(start step, total steps) -> this rank's training batches."""
    steps_per_epoch: int
    examples_per_epoch: int
    unit: str
    """What an example is, as "users"; for the report."""
    identity: Mapping[str, Any]
    """What a resumed run must share with the checkpoint: model, data, everything that changes the numbers."""
    export: Callable[[Path, Mapping[str, Any]], None]
    """(folder, result) -> writes the export, on rank 0."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    complete: bool
    """False after SIGTERM."""
    passed: bool = False
    result: Mapping[str, Any] | None = None
    converted: bool = True
    """False when a conversion that was asked for failed."""

    @property
    def exit_status(self) -> int:
        if self.complete and not self.passed:
            return GATE_MISSED
        return 0 if self.converted else CONVERSION_FAILED


class Run:
    """The parts of one run, wired together. `conduct.conduct` is the story; the methods are its chapters."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        run_dir: Path,
        training: TrainingConfig,
        evaluation: EvaluationConfig,
        *,
        scaled: bool,
        world: World,
    ) -> None:
        self.experiment, self.run_dir, self.training, self.world = experiment, run_dir, training, world
        self.dataset, self.evaluation, self.criteria = dataset, evaluation, criteria(evaluation)
        self.plan = loop.Plan(
            total_steps=training.epochs * experiment.steps_per_epoch,
            steps_per_epoch=experiment.steps_per_epoch,
            evaluate_every=training.evaluate_every * experiment.steps_per_epoch,
            steps_per_call=training.steps_per_call,
        )
        self.train_step = TrainStep(
            experiment.loss,
            experiment.terms,
            experiment.parameters,
            Adam(
                experiment.parameters,
                beta1=training.beta1,
                beta2=training.beta2,
                epsilon=training.epsilon,
                l2=training.l2,
                weight_decay=training.weight_decay,
                decayed=experiment.kernels,
            ),
            lambda f: learning_rate(f, training.learning_rate, training.learning_rate_schedule, training.warmup),
            total_steps=self.plan.total_steps,
            world=world,
            scaled=scaled,
            by_rows=experiment.by_rows,
        )
        self.averages = Averages(experiment.parameters, training.average) if training.average else None
        self.checkpoints = Checkpoints(
            run_dir / "checkpoints",
            keep=training.keep_checkpoints,
            world=world,
            model=experiment.model,
            optimizer=self.train_step.optimizer,
            loss_scale=self.train_step.loss_scale,
            step=self.train_step.step,
            **({"averages": self.averages} if self.averages else {}),
        )

        def evaluator(split: str, metrics: Sequence[Metric]) -> Evaluator:
            return Evaluator(
                dataset.held_out(split),
                metrics,
                world=world,
                n_items=dataset.n_items,
                block_size=evaluation.evaluation_block,
            )

        self.evaluator = evaluator("valid", self.criteria.metrics)
        """Measures during training; `final_evaluators` once, at its end."""
        self.final_evaluators = {split: evaluator(split, self.criteria.final_metrics) for split in ("valid", "test")}

    def start(self, resume: bool) -> loop.Progress:
        """The state to go on from: fresh, or the last checkpoint's (refused if that belongs to another run)."""
        if not resume or not self.checkpoints.any():  # a run that was killed before its first checkpoint starts again
            self.world.broadcast_variables(self.experiment.model.variables)
            return loop.Progress()
        progress = loop.Progress(**self.checkpoints.restore(check=self._same_run)["progress"])
        if self.averages:
            self.averages.swap()  # see `save`
        if progress.best_step is not None and progress.best_value is not None:
            self.checkpoints.mark_best(progress.best_step, progress.best_value)  # a kill may have come before this
        return progress

    def _same_run(self, state: Mapping[str, Any]) -> None:
        """Refuse the checkpoint of a run with other settings."""
        then, now = state["identity"], self.identity()
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                raise ValueError(
                    f"--resume: {name} is {now.get(name)!r}, the run in {self.run_dir} has {then.get(name)!r}; "
                    "resume with what it was started with"
                )

    def identity(self) -> dict[str, Any]:
        """Everything that changes the numbers of this run, as JSON values."""
        kept = asdict(self.training)
        for free in ("keep_checkpoints", "steps_per_call"):
            del kept[free]
        primary = str(self.criteria.primary)
        return {**self.experiment.identity, **kept, "primary": primary, "data set": self.dataset.fingerprint}

    def _judged(self) -> AbstractContextManager[None]:
        """The parameters that are evaluated and kept stand in the model while the block runs."""
        return self.averages.in_place() if self.averages else nullcontext()

    def evaluate(self) -> Evaluation:
        """The model as it is judged now, on the validation users."""
        if self.averages:
            if self.train_step.step <= self.training.average_from * self.plan.steps_per_epoch:
                self.averages.restart()
            self.averages.update()
        with self._judged():
            return self.evaluator.evaluate(self.experiment.scorer)

    def evaluate_baselines(self) -> dict[str, dict[str, Evaluation]]:
        """Baseline -> split -> evaluation."""
        return baseline_models.evaluate(
            self.criteria.baselines,
            self.dataset,
            self.final_evaluators,
            ease_regularization=self.evaluation.ease_regularization,
            world=self.world,
        )

    def actions(
        self, log: RunLog, progress_report: report.ProgressReport, lines: Mapping[str, float]
    ) -> list[loop.Action]:
        """What happens after each evaluation, in this order: say, log, save, mark the best, draw."""
        primary = str(self.criteria.primary)

        def say(moment: loop.Moment) -> None:
            shown = "  ".join(f"{n} {e.mean:.4f}" for n, e in moment.evaluation.metrics.items())
            epoch = moment.progress.history[-1]["epoch"]
            progress_report.say(f"epoch {epoch:.0f}  validation: {shown}{'  (best)' if moment.is_best else ''}")

        def write(moment: loop.Moment) -> None:
            values = {n: e.mean for n, e in moment.evaluation.metrics.items()}
            log.write("validation", moment.progress.step, values)

        def save(moment: loop.Moment) -> None:
            self.save(moment.progress)

        def mark_best(moment: loop.Moment) -> None:
            if moment.is_best:
                self.checkpoints.mark_best(moment.progress.step, moment.evaluation.metrics[primary].mean)

        def draw(moment: loop.Moment) -> None:
            if self.world.is_first:
                report.draw_curves(self.run_dir / "curves.png", moment.progress.history, primary, lines)

        return [say, write, save, mark_best, draw]

    def save(self, progress: loop.Progress) -> None:
        """Whoever reads the model from a checkpoint gets what was evaluated; what steps go on from lies beside it."""
        with self._judged():
            self.checkpoints.save(progress.step, {"identity": self.identity(), "progress": asdict(progress)})

    def result(
        self,
        progress: loop.Progress,
        valid: Evaluation,
        test: Evaluation,
        baselines: Mapping[str, Mapping[str, Evaluation]],
    ) -> tuple[dict[str, Any], tuple[Verdict, ...]]:
        """The content of `result.json` and the gate's verdicts (judged on the validation users)."""
        verdicts = judge(self.criteria.conditions, valid, {n: b["valid"] for n, b in baselines.items()})
        content = {
            "validation": valid.as_json(),
            "test": test.as_json(),
            "baselines": {
                name: {"validation": b["valid"].as_json(), "test": b["test"].as_json()} for name, b in baselines.items()
            },
            "gate": {"passed": all(v.passed for v in verdicts), "conditions": [asdict(v) for v in verdicts]},
            "best_step": progress.best_step,
            "best_epoch": (progress.best_step or 0) / self.plan.steps_per_epoch,
            "steps": progress.step,
            "trained_seconds": progress.trained_seconds,
            f"{self.experiment.unit}_per_second": self._examples_seen(progress.step)
            / max(progress.trained_seconds, 1e-9),
            "target": self._target_report(progress),
            "world_size": self.world.size,
            "data_set": self.dataset.fingerprint,
        }
        return content, verdicts

    def _examples_seen(self, step: int) -> float:
        return step / self.plan.steps_per_epoch * self.experiment.examples_per_epoch

    @property
    def target(self) -> tuple[str, float] | None:
        """Metric and value at which training stops."""
        wanted = self.criteria.target
        return (str(wanted.metric), wanted.value) if wanted else None

    def _target_report(self, progress: loop.Progress) -> dict[str, Any] | None:
        """When the target was reached: seconds of training steps, and with evaluations; None without a target."""
        if self.target is None:
            return None
        entry = loop.target_reached(progress, self.target) or {}
        times = {name: entry.get(name) for name in ("epoch", "trained_seconds", "seconds")}
        return {"condition": str(self.criteria.target), "reached": bool(entry), **times}
