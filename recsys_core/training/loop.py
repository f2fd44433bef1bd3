"""The outer loop: steps, evaluations, actions, interruption. Knows no model and no file.

What happens after an evaluation (save, keep the best, log, plot) hangs on the loop as a list of actions.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from recsys_core.distributed import World
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.training.step import TrainStep


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long a run is and when it is looked at, in steps."""

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int
    """Steps between evaluations; the end of the run is always evaluated."""
    steps_per_call: int
    """Steps of one inner loop."""

    def next_stop(self, step: int) -> int:
        """The step at which the inner loop must return."""
        evaluation = min(self.total_steps, (step // self.evaluate_every + 1) * self.evaluate_every)
        return min(step + self.steps_per_call, evaluation)

    def is_evaluated(self, step: int) -> bool:
        return step == self.total_steps or step % self.evaluate_every == 0


@dataclass(kw_only=True)
class Progress:
    """Where a run is: everything besides variables that a resumed run must know."""

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry an evaluation: step, epoch, loss, validation metrics."""
    trained_seconds: float = 0.0
    """Time in training steps."""
    seconds: float = 0.0
    """Time in the loop, evaluations and actions included."""
    loss_sum: float = 0.0
    """Sum of the losses of the steps since the last evaluation."""
    loss_steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What an action is told after an evaluation."""

    progress: Progress
    evaluation: Evaluation
    is_best: bool
    is_last: bool


Action = Callable[[Moment], None]
Reporter = Callable[[int, dict[str, float]], None]
"""(step, values of the last inner loop) -> nothing; called on every rank."""


class StopSignal:
    """Remembers that SIGTERM or SIGUSR1 arrived, so that the loop can stop between two inner loops.

    mpirun passes SIGUSR1 on to its ranks and leaves them the time they need; SIGTERM it follows with SIGKILL.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Catch the signals while the block runs (only the main thread can)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, lambda *_: setattr(self, "received", True)) for s in self.SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    train_step: TrainStep,
    batches: Any,
    plan: Plan,
    progress: Progress,
    *,
    examples_per_step: float,
    unit: str,
    evaluate: Callable[[], Evaluation],
    primary: str,
    target: tuple[str, float] | None = None,
    patience: int = 0,
    keep_last: bool = False,
    actions: Sequence[Action] = (),
    report: Reporter = lambda step, values: None,
    on_interrupt: Callable[[Progress], None] = lambda progress: None,
    stop: StopSignal,
    world: World,
) -> bool:
    """Train to the end of the plan.

    Args:
        batches: iterator that continues at `progress.step`.
        examples_per_step, unit: what a step works on, as 500 "users"; for the rate in the report.
        primary: name of the metric that decides which checkpoint is best.
        target: metric and least value at which training stops.
        patience: stop after this many evaluations without a better one (0: never).
        keep_last: take the last evaluation for the best one, whatever it says.
        on_interrupt: called once after a stop signal, before returning.

    Returns:
        True when the run is complete, False when it was interrupted.

    Raises:
        NonFiniteError: see `TrainStep.run`.
    """
    while progress.step < plan.total_steps and not _is_over(progress, patience, target):
        if world.any(stop.received):
            on_interrupt(progress)
            return False
        count = plan.next_stop(progress.step) - progress.step
        started = time.perf_counter()
        values = train_step.run(batches, count)
        seconds = time.perf_counter() - started
        progress.seconds += seconds
        progress.step += count
        progress.trained_seconds += seconds
        progress.loss_sum += float(values["loss"].astype("float64").sum())
        progress.loss_steps += count
        means = {name: float(column.mean()) for name, column in values.items()}
        report(progress.step, means | {f"{unit}_per_second": examples_per_step * count / seconds})
        if plan.is_evaluated(progress.step):
            started = time.perf_counter()
            evaluation = evaluate()
            progress.seconds += time.perf_counter() - started
            _look(plan, progress, evaluation, primary, keep_last, actions)
    return True


def target_reached(progress: Progress, target: tuple[str, float]) -> dict[str, Any] | None:
    """The first evaluation that reached the target, None if there is none."""
    name, least = target
    return next((entry for entry in progress.history if entry["validation"][name] >= least), None)


def _is_over(progress: Progress, patience: int, target: tuple[str, float] | None) -> bool:
    """Whether evaluations say to stop (asked at the head of the loop: a resumed run stays over)."""
    since_best = sum(entry["step"] > (progress.best_step or 0) for entry in progress.history)
    reached = target is not None and target_reached(progress, target) is not None
    return reached or (bool(patience) and since_best >= patience)


def _look(
    plan: Plan, progress: Progress, evaluation: Evaluation, primary: str, keep_last: bool, actions: Sequence[Action]
) -> None:
    """Note an evaluation and tell the actions."""
    value = evaluation.metrics[primary].mean
    is_best = keep_last or progress.best_value is None or value > progress.best_value
    if is_best:
        progress.best_step, progress.best_value = progress.step, value
    progress.history.append(
        {
            "step": progress.step,
            "epoch": progress.step / plan.steps_per_epoch,
            "loss": progress.loss_sum / max(progress.loss_steps, 1),
            "trained_seconds": progress.trained_seconds,
            "seconds": progress.seconds,
            "validation": {name: e.mean for name, e in evaluation.metrics.items()},
        }
    )
    progress.loss_sum, progress.loss_steps = 0.0, 0
    moment = Moment(
        progress=progress, evaluation=evaluation, is_best=is_best, is_last=progress.step == plan.total_steps
    )
    for action in actions:
        action(moment)
