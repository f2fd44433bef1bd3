"""Gradients by rows: merging, exchange, lazy Adam against NumPy, and a training step with them against a dense one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import KNOWN
from recsys_core.training.sparse_gradients import is_sparse, merged, summed_rows
from recsys_core.training.step import TrainStep
from recsys_core.world import World

ROWS, WIDTH = 12, 3


def slices(rows: npt.ArrayLike, values: npt.ArrayLike) -> tf.IndexedSlices:
    numbers = tf.constant(values, tf.float32)
    return tf.IndexedSlices(numbers, tf.constant(rows, tf.int32), tf.constant([ROWS, WIDTH]))


def dense(gradient: tf.IndexedSlices) -> npt.NDArray[np.float64]:
    """The gradient as a table; fails where a row comes twice."""
    rows = gradient.indices.numpy()
    assert len(set(rows.tolist())) == len(rows)
    table = np.zeros((ROWS, WIDTH))
    table[rows] = gradient.values.numpy()
    return table


def lookups(seed: int, count: int) -> tuple[npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, ROWS, count), rng.normal(size=(count, WIDTH))


def added(rows: npt.NDArray, values: npt.NDArray) -> npt.NDArray[np.float64]:
    table = np.zeros((ROWS, WIDTH))
    np.add.at(table, rows, values)
    return table


@pytest.mark.parametrize("count", [0, 1, 5, 200])
def test_merging_adds_up(count: int) -> None:
    rows, values = lookups(count, count)
    got = merged(slices(rows, values.reshape(count, WIDTH)))
    assert set(got.indices.numpy()) == set(rows)
    assert got.dense_shape.numpy().tolist() == [ROWS, WIDTH]
    assert dense(got) == pytest.approx(added(rows, values), abs=1e-5)


def test_merging_by_hand() -> None:
    got = merged(slices([7, 2, 7, 7], [[1, 0, 0], [5, 5, 5], [0, 2, 0], [10, 0, 3]]))
    assert got.indices.numpy().tolist() == [7, 2]
    assert got.values.numpy().tolist() == [[11, 2, 3], [5, 5, 5]]


class Two(World):
    """A rank whose other half has sent its part already."""

    def __init__(self, others: Mapping[str, tf.Tensor]) -> None:
        self.size, self._others = 2, others
        self.sent: dict[str, tf.Tensor] = {}

    def gather_in_graph(self, tensor: tf.Tensor, name: str) -> tf.Tensor:
        self.sent[name] = tensor
        return tf.concat([tensor, self._others[name]], axis=0)


def test_the_sum_over_ranks() -> None:
    (rows, values), (more_rows, more_values) = lookups(1, 30), lookups(2, 5)
    other = merged(slices(more_rows, more_values))
    world = Two({"g/values": other.values, "g/rows": other.indices})
    got = summed_rows(slices(rows, values), world, "g")
    assert dense(got) == pytest.approx(added(rows, values) + added(more_rows, more_values), abs=1e-5)
    assert len(world.sent["g/rows"]) == len(set(rows))  # every row is sent once
    alone = summed_rows(slices(rows, values), World(), "g")
    assert dense(alone) == pytest.approx(added(rows, values), abs=1e-5)


class Reference:
    """Adam with epsilon at the uncorrected root, in float64, over the rows that have a gradient."""

    def __init__(self, table: npt.NDArray, rate: float) -> None:
        self.table, self.rate, self.taken = table.astype(np.float64), rate, 0
        self.m, self.v = np.zeros_like(self.table), np.zeros_like(self.table)

    def step(self, gradient: npt.NDArray, rows: npt.ArrayLike) -> None:
        self.taken += 1
        for r in np.unique(rows):
            self.m[r] = 0.9 * self.m[r] + 0.1 * gradient[r]
            self.v[r] = 0.999 * self.v[r] + 0.001 * gradient[r] ** 2
            corrected = self.rate * np.sqrt(1 - 0.999**self.taken) / (1 - 0.9**self.taken)
            self.table[r] -= corrected * self.m[r] / (np.sqrt(self.v[r]) + 1e-8)


def adam(start: npt.NDArray) -> tuple[tf.Variable, Adam]:
    table = tf.Variable(start, dtype=tf.float32)
    return table, Adam([table])


def apply(optimizer: Adam, gradient: tf.Tensor | tf.IndexedSlices, rate: float = 0.1) -> None:
    optimizer.apply([gradient], tf.constant(rate))


START = np.random.default_rng(9).normal(size=(ROWS, WIDTH)).astype(np.float32)


def test_lazy_adam_equals_a_slow_one() -> None:
    table, optimizer = adam(START)
    reference = Reference(START, 0.1)
    for step in range(8):
        rows, values = lookups(100 + step, 6)
        untouched = np.setdiff1d(np.arange(ROWS), rows)
        state = (table, optimizer.first[0], optimizer.second[0])
        before = [v.numpy() for v in state]
        apply(optimizer, merged(slices(rows, values)))
        reference.step(added(rows, values), rows)
        for was, variable in zip(before, state, strict=True):
            assert (variable.numpy()[untouched] == was[untouched]).all()
            assert (variable.numpy()[rows] != was[rows]).any(axis=1).all()
        for variable, expected in zip(state, (reference.table, reference.m, reference.v), strict=True):
            assert variable.numpy() == pytest.approx(expected, abs=3e-5)


def test_lazy_adam_equals_the_dense_one_where_all_rows_are_touched() -> None:
    by_rows, whole = adam(START), adam(START)
    rng = np.random.default_rng(3)
    for _ in range(6):
        order, values = rng.permutation(ROWS), rng.normal(size=(ROWS, WIDTH))
        apply(by_rows[1], slices(order, values))
        apply(whole[1], tf.constant(added(order, values), tf.float32))
        assert by_rows[0].numpy() == pytest.approx(whole[0].numpy(), abs=3e-5)
    assert by_rows[1].first[0].numpy() == pytest.approx(whole[1].first[0].numpy(), abs=1e-6)
    assert by_rows[1].second[0].numpy() == pytest.approx(whole[1].second[0].numpy(), abs=1e-6)


def test_rows_without_a_gradient_are_what_lazy_is_about() -> None:
    by_rows, whole = adam(START), adam(START)
    for rows in ([0, 1], [1]):
        values = np.ones((len(rows), WIDTH))
        apply(by_rows[1], slices(rows, values))
        apply(whole[1], tf.constant(added(np.array(rows), values), tf.float32))
    assert by_rows[0].numpy()[1] == pytest.approx(whole[0].numpy()[1], abs=1e-5)
    assert np.abs(by_rows[0].numpy()[0] - whole[0].numpy()[0]).min() > 0.01  # the dense one moves on by momentum
    assert (by_rows[0].numpy()[2:] == START[2:]).all()


def test_no_rows_change_nothing() -> None:
    table, optimizer = adam(START)
    apply(optimizer, slices(np.zeros(0), np.zeros((0, WIDTH))))
    assert (table.numpy() == START).all()


@pytest.mark.parametrize(
    ("choice", "rows", "lookups", "expected"),
    [
        ("auto", 500, 100, False),
        ("auto", 501, 100, True),
        ("auto", 10, 100, False),
        ("auto", 1_000_000, 100, True),
        ("dense", 1_000_000, 1, False),
        ("rows", 1, 1_000_000, True),
    ],
)
def test_the_choice(choice: str, rows: int, lookups: int, expected: bool) -> None:
    assert is_sparse(choice, rows, lookups) is expected


Batches = list[npt.NDArray[np.int32]]


def train(batches: Batches, *, by_rows: bool, scaled: bool = False) -> tuple[dict[str, npt.NDArray], list[tf.Variable]]:
    """A table and a vector, drawn towards a target: rows are looked up, so the table's gradient has repeats.

    Returns:
        What the steps report, and the variables with their first moments.
    """
    table, weights = tf.Variable(START, name="table"), tf.Variable([1.0, 2.0, -1.0], name="weights")
    optimizer = Adam([table, weights])

    def loss(ids: tf.Tensor, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        del progress
        error = tf.reduce_sum(tf.gather(table, ids) * weights, axis=1) - tf.cast(ids % 3, tf.float32)
        return {"loss": tf.reduce_mean(tf.square(error))}

    step = TrainStep(
        loss,
        ("loss",),
        [table, weights],
        optimizer,
        lambda progress: tf.constant(0.05),
        total_steps=len(batches),
        world=World(),
        precision=KNOWN["fp16" if scaled else "fp32"],
        sparse_tables=[table] if by_rows else [],
    )

    def parts() -> Iterator[npt.NDArray[np.int32]]:
        yield from batches

    data = tf.data.Dataset.from_generator(parts, output_signature=tf.TensorSpec([None], tf.int32))
    return step.run(iter(data), len(batches)), [table, weights, *optimizer.first]


def batches(count: int, everywhere: bool) -> Batches:
    rng = np.random.default_rng(4)
    drawn = [rng.integers(0, ROWS, 7) for _ in range(count)]
    return [np.concatenate([np.arange(ROWS), d] if everywhere else [d]).astype(np.int32) for d in drawn]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_by_rows_is_the_dense_step(scaled: bool) -> None:
    given = batches(1, everywhere=False)
    (rows, a), (whole, b) = (train(given, by_rows=flag, scaled=scaled) for flag in (True, False))
    assert rows["loss"].tolist() == whole["loss"].tolist()
    assert rows["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=1e-5)
    for x, y in zip(a, b, strict=True):
        assert x.numpy() == pytest.approx(y.numpy(), abs=1e-5)
    untouched = np.setdiff1d(np.arange(ROWS), given[0])
    assert len(untouched)
    assert (a[0].numpy()[untouched] == START[untouched]).all()


@pytest.mark.parametrize("scaled", [False, True])
def test_steps_by_rows_stay_with_dense_ones_where_all_rows_are_touched(scaled: bool) -> None:
    given = batches(12, everywhere=True)
    (rows, a), (whole, b) = (train(given, by_rows=flag, scaled=scaled) for flag in (True, False))
    assert rows["loss"] == pytest.approx(whole["loss"], rel=1e-4)
    assert rows["gradient_norm"] == pytest.approx(whole["gradient_norm"], rel=1e-4)
    assert rows["loss"][-1] < 0.7 * rows["loss"][0]
    for x, y in zip(a, b, strict=True):
        assert x.numpy() == pytest.approx(y.numpy(), abs=1e-4)


def test_steps_by_rows_part_from_dense_ones_otherwise() -> None:
    given = batches(12, everywhere=False)
    (rows, _), (whole, _) = (train(given, by_rows=flag) for flag in (True, False))
    assert rows["loss"][0] == whole["loss"][0]
    assert np.abs(rows["loss"] - whole["loss"]).max() > 1e-3
