"""Schedules, precision, loss scale, Adam: each against values or formulas from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.config import TrainingConfig
from recsys_core.training import precision, schedules
from recsys_core.training.averaging import Averages
from recsys_core.training.optimizer import Adam


@pytest.mark.parametrize(
    ("schedule", "warmup", "progress", "expected"),
    [
        ("constant", 0.0, 0.0, 2.0),
        ("constant", 0.2, 0.1, 1.0),
        ("constant", 0.2, 0.9, 2.0),
        ("linear", 0.0, 0.25, 1.5),
        ("linear", 0.5, 0.75, 1.0),
        ("cosine", 0.0, 0.5, 1.0),
        ("cosine", 0.0, 0.0, 2.0),
    ],
)
def test_learning_rate(schedule: str, warmup: float, progress: float, expected: float) -> None:
    got = schedules.learning_rate(tf.constant(progress), 2.0, schedule, warmup)
    assert float(got) == pytest.approx(expected, abs=1e-6)


def test_unknown_schedule() -> None:
    with pytest.raises(ValueError, match=r"unknown learning rate schedule 'step', known are: constant, linear, cosine"):
        schedules.learning_rate(tf.constant(0.0), 1.0, "step", 0.0)


@pytest.mark.parametrize(
    ("capability", "cpu_bf16", "expected"),
    [((9, 0), False, "bf16"), ((8, 0), False, "bf16"), ((7, 5), True, "fp16"), ((6, 1), False, "fp32"),
     (None, True, "bf16"), (None, False, "fp32")],
)  # fmt: skip
def test_best_precision(capability: tuple[int, int] | None, cpu_bf16: bool, expected: str) -> None:
    assert precision.best(capability, cpu_bf16) == expected


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="unknown precision 'fp8', known are: fp32, tf32, bf16, fp16, auto"):
        precision.named("fp8")


def test_loss_scale_halves_and_recovers() -> None:
    scale = precision.LossScale(True)
    scale.update(tf.constant(False))
    assert float(scale.value) == 2.0**14
    scale.good_steps.assign(precision.LossScale.PATIENCE - 1)
    scale.update(tf.constant(True))
    assert (float(scale.value), int(scale.good_steps)) == (2.0**15, 0)
    scale.update(tf.constant(True))
    assert (float(scale.value), int(scale.good_steps)) == (2.0**15, 1)


def numpy_adam(w: np.ndarray, grads: list[np.ndarray], lr: float, l2: float, decay: float) -> np.ndarray:
    """Kingma and Ba, algorithm 1, in the order of its section 2's last remark (epsilon on the uncorrected root)."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, start=1):
        g = g + 2 * l2 * w
        w = w - lr * decay * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w = w - lr * np.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-6)
    return w


@pytest.mark.parametrize(("l2", "decay"), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.3), (0.05, 0.3)])
def test_adam_and_its_decays(l2: float, decay: float) -> None:
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal((3, 4)), [rng.standard_normal((3, 4)) for _ in range(6)]
    kernel, bias = tf.Variable(start, dtype=tf.float32), tf.Variable(start, dtype=tf.float32)
    adam = Adam([kernel, bias], beta1=0.9, beta2=0.99, epsilon=1e-6, l2=l2, weight_decay=decay, decayed=[kernel])
    assert float(adam.penalty()) == pytest.approx(l2 * (start**2).sum(), rel=1e-5)
    for g in grads:
        g32 = tf.constant(g, tf.float32)
        adam.apply([g32, g32], tf.constant(0.01))
    assert kernel.numpy() == pytest.approx(numpy_adam(start, grads, 0.01, l2, decay), abs=1e-5)
    assert bias.numpy() == pytest.approx(numpy_adam(start, grads, 0.01, 0.0, 0.0), abs=1e-5)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [(0.5, (1.0, 5 / 3, 3.0)), (1.0, (1.0, 1.5, 7 / 3))],  # weights 1/4, 1/2 and 1; the same
)
def test_means_by_hand(decay: float, expected: tuple[float, ...]) -> None:
    parameter = tf.Variable([1.0, 10.0])
    averages = Averages([parameter], decay)
    for value, mean in zip((1.0, 2.0, 4.0), expected, strict=True):
        parameter.assign([value, 10 * value])
        averages.update()
        assert averages.means[0].numpy() == pytest.approx([mean, 10 * mean], rel=1e-6)
        assert parameter.numpy().tolist() == [value, 10 * value]
    averages.restart()
    averages.update()
    assert averages.means[0].numpy().tolist() == [4.0, 40.0]


def test_means_stand_in_for_parameters_and_step_back() -> None:
    parameter = tf.Variable([1.0])
    averages = Averages([parameter], 0.5)
    averages.update()
    parameter.assign([4.0])

    def judged() -> float:
        with averages.in_place():
            return float(parameter[0])

    assert judged() == 1.0
    assert (float(parameter[0]), float(averages.means[0][0])) == (4.0, 1.0)
    with pytest.raises(KeyError), averages.in_place():
        raise KeyError
    assert float(parameter[0]) == 4.0


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"average": 1.5}, "average is 1.5, expected a number from 0 to 1"),
        ({"average_from": 3}, "average-from is 3, expected --average beside it, as 1"),
        ({"average": 1.0, "average_from": 9}, "average-from is 9, expected at most --epochs, 8"),
        ({"average": 1.0, "average_from": 0}, "average-from is 0, expected a whole number from 1"),
        ({"learning_rate_schedule": "cubic"}, "unknown learning rate schedule 'cubic', known are: "),
    ],
)
def test_a_training_that_cannot_be_is_one_clear_error(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        TrainingConfig(epochs=8, batch_size=10, **values).check()
