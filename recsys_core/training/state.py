"""Where a run is: its plan in steps, its progress, and the events that callbacks are told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recsys_core.evaluation.evaluator import Evaluation


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is and when it is evaluated, in steps."""

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int
    """Steps between evaluations; the end of the run is always evaluated."""
    steps_per_call: int
    """Steps of one inner loop."""
    within_epochs: bool = False
    """Whether an inner loop must not pass the end of an epoch, because another phase of the training may begin."""

    def next_stop(self, step: int) -> int:
        """The step at which the inner loop must return."""
        evaluation = min(self.total_steps, (step // self.evaluate_every + 1) * self.evaluate_every)
        stop = min(step + self.steps_per_call, evaluation)
        return min(stop, (step // self.steps_per_epoch + 1) * self.steps_per_epoch) if self.within_epochs else stop

    def is_evaluated(self, step: int) -> bool:
        """Whether there is an evaluation after this step."""
        return step == self.total_steps or step % self.evaluate_every == 0


@dataclass(kw_only=True)
class TrainState:
    """Everything besides variables that a resumed run must know."""

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry an evaluation: step, epoch, loss (None before the first step), validation metrics and (not of earlier
    versions) standard errors."""
    trained_seconds: float = 0.0
    """Time in training steps."""
    seconds: float = 0.0
    """Time in the loop, evaluations and callbacks included."""
    loss_sum: float = 0.0
    """Sum of the losses of the steps since the last evaluation."""
    loss_steps: int = 0

    def record_steps(self, count: int, loss_sum: float, seconds: float) -> None:
        """Note steps that were taken."""
        self.step += count
        self.trained_seconds += seconds
        self.loss_sum += loss_sum
        self.loss_steps += count

    def pass_time(self, clock: float) -> float:
        """Add the time since `clock` to the run's seconds; returns the time now."""
        now = time.perf_counter()
        self.seconds += now - clock
        return now

    def record_evaluation(self, plan: Plan, evaluation: Evaluation, primary: str, keep_last: bool) -> EvalEvent:
        """Note an evaluation, and whether it is the best so far (the first of equals).

        Args:
            primary: name of the metric that decides.
            keep_last: take the last evaluation for the best, whatever its value.
        """
        value = evaluation.metrics[primary].mean
        is_best = keep_last or self.best_value is None or value > self.best_value
        if is_best:
            self.best_step, self.best_value = self.step, value
        self.history.append(
            {
                "step": self.step,
                "epoch": self.step / max(plan.steps_per_epoch, 1),
                "loss": self.loss_sum / self.loss_steps if self.loss_steps else None,
                "trained_seconds": self.trained_seconds,
                "seconds": self.seconds,
                "validation": {name: e.mean for name, e in evaluation.metrics.items()},
                "validation_errors": {name: e.standard_error for name, e in evaluation.metrics.items()},
            }
        )
        self.loss_sum, self.loss_steps = 0.0, 0
        return EvalEvent(state=self, evaluation=evaluation, is_best=is_best)

    def first_reaching(self, metric: str, value: float) -> Mapping[str, Any] | None:
        """The first evaluation whose metric is at least the value, None if there is none."""
        return next((entry for entry in self.history if entry["validation"][metric] >= value), None)

    def evaluations_since_best(self) -> int:
        return sum(entry["step"] > (self.best_step or 0) for entry in self.history)


@dataclass(frozen=True, kw_only=True)
class EvalEvent:
    """An evaluation during training, as callbacks are told of it."""

    state: TrainState
    evaluation: Evaluation
    is_best: bool
