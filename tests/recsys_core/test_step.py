"""The training step on a model of one number: updates, overflow, non-finite values; the plan of a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.errors import NonFiniteError
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import KNOWN
from recsys_core.training.state import Plan
from recsys_core.training.step import TrainStep
from recsys_core.world import World


def make_step(values: list[float], scaled: bool = False) -> tuple[TrainStep, object, tf.Variable]:
    """A loss w * x with x from a list, so that the gradient is x."""
    weight = tf.Variable(1.0, name="weight")

    def loss(batch: tf.Tensor, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        del progress
        return {"loss": weight * batch}

    step = TrainStep(
        loss,
        ("loss",),
        [weight],
        Adam([weight]),
        lambda progress: tf.constant(0.1),
        total_steps=len(values),
        world=World(),
        precision=KNOWN["fp16" if scaled else "fp32"],
    )
    return step, iter(tf.data.Dataset.from_tensor_slices(np.array(values, np.float32))), weight


def test_several_steps_in_one_call() -> None:
    step, batches, weight = make_step([1.0, 1.0, 1.0])
    out = step.run(batches, 3)
    assert out["loss"] == pytest.approx([1.0, 0.9, 0.8], abs=1e-5)  # Adam moves by the learning rate here
    assert out["gradient_norm"].tolist() == [1.0, 1.0, 1.0]
    assert int(step.step) == 3


class Doubled(World):
    """Two ranks that have the same: every sum is twice the own share."""

    size = 2

    def __init__(self) -> None:
        self.summed: dict[str, list[int | None]] = {}

    def sum_in_graph(self, tensor: tf.Tensor, name: str) -> tf.Tensor:
        self.summed[name] = tensor.shape.as_list()
        return 2.0 * tensor


def test_loss_terms_are_summed_over_ranks_once_a_call() -> None:
    weight, world = tf.Variable(1.0, name="weight"), Doubled()
    step = TrainStep(
        lambda batch, progress: {"loss": weight * batch, "half": 0.5 * batch},
        ("loss", "half"), [weight], Adam([weight], l2=0.5, decayed=[weight]), lambda progress: tf.constant(0.1),
        total_steps=2, world=world,
    )  # fmt: skip
    out = step.run(iter(tf.data.Dataset.from_tensor_slices(np.array([1.0, 3.0], np.float32))), 2)
    assert world.summed == {"gradient/0": [], "losses": [None, 2]}  # all steps of the call, not one
    assert out["half"].tolist() == [1.0, 3.0]
    # The penalty 0.5 * weight^2 is the same on all ranks and counts once. Adam's first step is the learning rate.
    assert out["loss"] == pytest.approx([2 * 1.0 + 0.5, 2 * 0.9 * 3.0 + 0.5 * 0.9**2], abs=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_loss_names_step_and_quantity(bad: float) -> None:
    step, batches, _ = make_step([1.0, 1.0, bad, 1.0])
    step.run(batches, 1)
    with pytest.raises(NonFiniteError, match=r"step 2: loss is"):
        step.run(batches, 3)


def test_a_non_finite_gradient_is_named() -> None:
    weight = tf.Variable(0.0, name="weight")
    step = TrainStep(
        lambda batch, progress: {"loss": tf.sqrt(weight * batch)},  # gradient at 0 is infinite, the value is not
        ("loss",), [weight], Adam([weight]), lambda progress: tf.constant(0.1), total_steps=1, world=World(),
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


def test_a_skipped_step_is_no_update() -> None:
    """Neither Adam's bias correction nor the schedules advance: the second step that is taken is Adam's second."""
    step, batches, weight = make_step([1.0, float("1e38"), 1.0], scaled=True)
    reference, others, expected = make_step([1.0, 1.0], scaled=True)
    for s in (step, reference):
        s.loss_scale.value.assign(1024.0)
    step.run(batches, 3)
    reference.run(others, 2)
    assert (int(step.step), int(step.optimizer.updates)) == (3, 2)
    assert float(weight) == pytest.approx(float(expected), rel=1e-6)


def test_an_overflow_at_the_smallest_scale_is_an_error() -> None:
    """All further steps would be skipped: the run would end without having learnt."""
    weight = tf.Variable(0.0, name="weight")
    only_gradient = TrainStep(
        lambda batch, progress: {"loss": tf.sqrt(weight * batch)},
        ("loss",), [weight], Adam([weight]), lambda progress: tf.constant(0.1), total_steps=1, world=World(),
        precision=KNOWN["fp16"],
    )  # fmt: skip
    only_gradient.loss_scale.value.assign(1.0)
    with pytest.raises(NonFiniteError, match="step 0: gradient of weight:0 at the smallest loss scale is inf"):
        only_gradient.run(iter(tf.data.Dataset.from_tensors(np.float32(1.0))), 1)


def test_the_scale_changes_nothing_else() -> None:
    plain, scaled = make_step([1.0, 2.0, -1.0, 3.0]), make_step([1.0, 2.0, -1.0, 3.0], scaled=True)
    for step, batches, _ in (plain, scaled):
        step.run(batches, 4)
    assert float(plain[2]) == pytest.approx(float(scaled[2]), rel=1e-6)


def test_plan_stops_at_evaluations_and_the_end() -> None:
    plan = Plan(total_steps=23, steps_per_epoch=5, evaluate_every=10, steps_per_call=4)
    stops = [0]
    while stops[-1] < 23:
        stops.append(plan.next_stop(stops[-1]))
    assert stops == [0, 4, 8, 10, 14, 18, 20, 23]
    assert [s for s in stops if s and plan.is_evaluated(s)] == [10, 20, 23]
