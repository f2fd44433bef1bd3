"""The compiled training step against the sparse one: the same rows of numbers and parameters, in one part and in three.

The model is a regression of few numbers, so that only the step itself is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core.errors import NonFiniteError
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import KNOWN
from recsys_core.training.step import TrainStep
from recsys_core.world import World

ROWS, WIDTH, STEPS = 12, 4, 6


class Examples(NamedTuple):
    """Some rows of a batch, or in parts [G] of it."""

    x: tf.Tensor
    y: tf.Tensor
    ids: tf.Tensor


def data(bad: float | None = None) -> Examples:
    """Batches of `STEPS` steps. The third has a target that overflows, if it is given."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((STEPS, ROWS, WIDTH)), rng.standard_normal((STEPS, ROWS))
    if bad is not None:
        y[2, 5] = bad
    return Examples(x.astype(np.float32), y.astype(np.float32), rng.integers(0, 5, (STEPS, ROWS)))


class Regression:
    """The squared error of a linear layer and a table looked up by `ids`; terms add up over rows."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.kernel = tf.Variable(rng.standard_normal([WIDTH, 1]), dtype=tf.float32, name="kernel")
        self.table = tf.Variable(rng.standard_normal([5, 1]), dtype=tf.float32, name="table")

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.kernel, self.table]

    def loss(self, batch: Examples, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        error = tf.matmul(batch.x, self.kernel) + tf.gather(self.table, batch.ids) - batch.y[:, None]
        share = tf.cast(tf.shape(batch.x)[0], tf.float32) / ROWS
        return {"loss": tf.reduce_sum(tf.square(error)) / ROWS, "progress": progress * share}


def trained(
    parts: int, batches: Examples, *, by_rows: bool = False, precision: str = "fp32", **optimizer: Any
) -> tuple[dict[str, npt.NDArray], list[npt.NDArray], TrainStep]:
    """What the steps return, and the parameters after them. parts: 0 for the sparse step."""
    model = Regression()
    decayed = [model.kernel] if by_rows else model.variables
    step = TrainStep(
        model.loss,
        ("loss", "progress"),
        model.variables,
        Adam(model.variables, decayed=decayed, **optimizer),
        lambda progress: 0.05 * (1.0 - progress),
        total_steps=STEPS,
        world=World(),
        precision=KNOWN[precision],
        sparse_tables=[model.table] if by_rows else [],
        compiled_parts=parts,
    )
    if parts:
        batches = Examples(*(field.reshape(STEPS, parts, ROWS // parts, *field.shape[2:]) for field in batches))
    iterator = iter(tf.data.Dataset.from_tensor_slices(batches))
    first, rest = step.run(iterator, 2), step.run(iterator, STEPS - 2)
    found = {name: np.concatenate([first[name], rest[name]]) for name in first}
    return found, [v.numpy() for v in (*model.variables, *step.optimizer.first, *step.optimizer.second)], step


def check_alike(parts: int, batches: Examples, **options: Any) -> dict[str, npt.NDArray]:
    (sparse, parameters, one), (compiled, others, other) = (trained(k, batches, **options) for k in (0, parts))
    assert sparse.keys() == compiled.keys()
    for name in sparse:
        assert compiled[name] == pytest.approx(sparse[name], rel=2e-6, abs=1e-6), name
    for left, right in zip(parameters, others, strict=True):
        assert right == pytest.approx(left, rel=1e-5, abs=1e-6)
    assert (int(one.step), int(one.optimizer.updates)) == (int(other.step), int(other.optimizer.updates))
    assert float(one.loss_scale.value) == float(other.loss_scale.value)
    return compiled


PARTS = pytest.mark.parametrize("parts", [1, 3])


@PARTS
@pytest.mark.parametrize("optimizer", [{}, {"l2": 0.1}, {"weight_decay": 0.1}], ids=["plain", "l2", "decay"])
def test_numbers_and_parameters_are_those_of_the_sparse_step(parts: int, optimizer: dict[str, float]) -> None:
    found = check_alike(parts, data(), **optimizer)
    assert found["progress"] == pytest.approx(np.arange(STEPS) / STEPS)  # parts add up, and are not repeated
    assert len(set(found["loss"].tolist())) == STEPS


@PARTS
def test_a_step_that_overflows_is_skipped_alike(parts: int) -> None:
    """The loss, 1e36, is finite; its gradient times the scale is not."""
    found = check_alike(parts, data(bad=3e18), precision="fp16", l2=0.1)
    assert found["skipped_steps"].tolist() == [0, 0, 1, 0, 0, 0]
    assert found["gradient_norm"][2] == 0
    assert found["loss_scale"][-1] == 2.0**14


def test_gradients_by_rows() -> None:
    found = check_alike(1, data(), by_rows=True, l2=0.1)
    assert len(set(found["loss"].tolist())) == STEPS


@PARTS
def test_a_loss_that_is_not_finite_is_named_alike(parts: int) -> None:
    messages = []
    for k in (0, parts):
        with pytest.raises(NonFiniteError) as caught:
            trained(k, data(bad=float("inf")))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[1].startswith("step 2: loss is inf")


@PARTS
def test_a_gradient_that_is_not_finite_is_named_alike(parts: int) -> None:
    weight = tf.Variable(0.0, name="weight")

    def step_of(compiled_parts: int) -> TrainStep:
        return TrainStep(
            lambda batch, progress: {"loss": tf.sqrt(weight * batch)},  # gradient at 0 is infinite, the value is not
            ("loss",), [weight], Adam([weight]), lambda progress: tf.constant(0.1), total_steps=1, world=World(),
            compiled_parts=compiled_parts,
        )  # fmt: skip

    batch = tf.data.Dataset.from_tensors(np.ones(parts, np.float32))
    with pytest.raises(NonFiniteError, match="step 0: gradient of weight:0 is"):
        step_of(parts).run(iter(batch), 1)


def test_another_shape_is_compiled_on_the_way() -> None:
    """The last batch of an epoch may be shorter."""
    model = Regression()
    step = TrainStep(
        model.loss, ("loss", "progress"), model.variables, Adam(model.variables), lambda progress: tf.constant(0.05),
        total_steps=4, world=World(), compiled_parts=1,
    )  # fmt: skip
    x, y, ids = (field[0] for field in data())

    def batches() -> Any:
        for rows in (12, 5, 12, 5):
            yield Examples(x[None, :rows], y[None, :rows], ids[None, :rows])

    signature = Examples(
        tf.TensorSpec([1, None, WIDTH], tf.float32), tf.TensorSpec([1, None], tf.float32),
        tf.TensorSpec([1, None], tf.int64),
    )  # fmt: skip
    iterator = iter(tf.data.Dataset.from_generator(batches, output_signature=signature))
    found = step.run(iterator, 4)
    assert np.isfinite(found["loss"]).all()
    assert found["loss"][2] < found["loss"][0] and found["loss"][3] < found["loss"][1]
