"""The step and the loop on a model of two numbers: updates, overflow, non-finite values, plans, interruption."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.distributed import World
from recsys_core.errors import NonFiniteError
from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.training import loop
from recsys_core.training.optimizer import Adam
from recsys_core.training.step import TrainStep


def make_step(values: list[float], scaled: bool = False) -> tuple[TrainStep, object, tf.Variable]:
    """A loss w * x with x from a list, so that the gradient is x."""
    weight = tf.Variable(1.0, name="weight")

    def loss(batch: tf.Tensor, fraction: tf.Tensor) -> Mapping[str, tf.Tensor]:
        del fraction
        return {"loss": weight * batch}

    step = TrainStep(
        loss,
        ("loss",),
        [weight],
        Adam([weight]),
        lambda fraction: tf.constant(0.1),
        total_steps=len(values),
        world=World(),
        scaled=scaled,
    )
    return step, iter(tf.data.Dataset.from_tensor_slices(np.array(values, np.float32))), weight


def test_several_steps_in_one_call() -> None:
    step, batches, weight = make_step([1.0, 1.0, 1.0])
    out = step.run(batches, 3)
    assert out["loss"] == pytest.approx([1.0, 0.9, 0.8], abs=1e-5)  # Adam moves by the learning rate here
    assert out["gradient_norm"].tolist() == [1.0, 1.0, 1.0]
    assert int(step.step) == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_loss_names_step_and_quantity(bad: float) -> None:
    step, batches, _ = make_step([1.0, 1.0, bad, 1.0])
    step.run(batches, 1)
    with pytest.raises(NonFiniteError, match=r"step 2: loss is"):
        step.run(batches, 3)


def test_a_non_finite_gradient_is_named() -> None:
    weight = tf.Variable(0.0, name="weight")
    step = TrainStep(
        lambda batch, fraction: {"loss": tf.sqrt(weight * batch)},  # gradient at 0 is infinite, the value is not
        ("loss",), [weight], Adam([weight]), lambda fraction: tf.constant(0.1), total_steps=1, world=World(),
    )  # fmt: skip
    with pytest.raises(NonFiniteError, match="step 0: gradient of weight:0"):
        step.run(iter(tf.data.Dataset.from_tensors(np.float32(1.0))), 1)


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    step, batches, weight = make_step([1.0, float("1e38"), 1.0], scaled=True)
    step.loss_scale.value.assign(1024.0)
    step.run(batches, 1)
    before = float(weight)
    step.run(batches, 1)
    assert (float(weight), float(step.loss_scale.value)) == (before, 512.0)
    step.run(batches, 1)
    assert float(weight) < before


def test_the_scale_changes_nothing_else() -> None:
    plain, scaled = make_step([1.0, 2.0, -1.0, 3.0]), make_step([1.0, 2.0, -1.0, 3.0], scaled=True)
    for step, batches, _ in (plain, scaled):
        step.run(batches, 4)
    assert float(plain[2]) == pytest.approx(float(scaled[2]), rel=1e-6)


def test_plan_stops_at_evaluations_and_the_end() -> None:
    plan = loop.Plan(total_steps=23, steps_per_epoch=5, evaluate_every=10, steps_per_call=4)
    stops = [0]
    while stops[-1] < 23:
        stops.append(plan.next_stop(stops[-1]))
    assert stops == [0, 4, 8, 10, 14, 18, 20, 23]
    assert [s for s in stops if s and plan.is_evaluated(s)] == [10, 20, 23]


def run_loop(
    values: list[float], patience: int = 0, stop_after: int | None = None, keep_last: bool = False
) -> tuple[bool, loop.Progress, list]:
    """A run of ten steps, evaluated every two; the metric follows `values`."""
    step, batches, _ = make_step([1.0] * 10)
    plan = loop.Plan(total_steps=10, steps_per_epoch=2, evaluate_every=2, steps_per_call=5)
    progress, stop, metric, seen = (
        loop.Progress(),
        loop.StopSignal(),
        itertools.chain(values, itertools.repeat(0.0)),
        [],
    )

    def evaluate() -> Evaluation:
        return Evaluation(metrics={"m@1": Estimate(mean=next(metric))}, users=1, users_without_relevant=0)

    def act(moment: loop.Moment) -> None:
        seen.append((moment.progress.step, moment.is_best))
        stop.received = stop.received or moment.progress.step == stop_after

    complete = loop.run(
        step, batches, plan, progress, examples_per_step=1, unit="users", evaluate=evaluate, primary="m@1",
        patience=patience, keep_last=keep_last,
        actions=[act], on_interrupt=lambda p: seen.append("saved"), stop=stop, world=World(),
    )  # fmt: skip
    return complete, progress, seen


def test_the_best_is_the_first_of_equals() -> None:
    complete, progress, seen = run_loop([0.1, 0.3, 0.3, 0.2, 0.1])
    assert complete
    assert seen == [(2, True), (4, True), (6, False), (8, False), (10, False)]
    assert (progress.best_step, progress.best_value) == (4, 0.3)


def test_the_last_may_be_kept_instead() -> None:
    _, progress, seen = run_loop([0.1, 0.3, 0.3, 0.2, 0.1], keep_last=True)
    assert [is_best for _, is_best in seen] == [True] * 5
    assert (progress.best_step, progress.best_value) == (10, 0.1)


def test_patience_ends_a_run() -> None:
    complete, progress, _ = run_loop([0.3, 0.2, 0.1], patience=2)
    assert (complete, progress.step) == (True, 6)


def test_a_stop_signal_saves_and_returns() -> None:
    complete, progress, seen = run_loop([0.1, 0.2], stop_after=4)
    assert (complete, progress.step, seen[-1]) == (False, 4, "saved")


def test_the_loss_of_an_evaluation_is_the_mean_since_the_last() -> None:
    _, progress, _ = run_loop([0.1] * 5)
    assert [entry["loss"] for entry in progress.history][:2] == pytest.approx([0.95, 0.75], abs=1e-4)
