"""The compiled likelihood and first layer against NumPy in float64: values, gradients, padding, types, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core.config import TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.input.chunks import ChunkPart, ChunkTable, chunk_table, chunked
from recsys_core.matrices import Csr
from recsys_core.world import World
from vaecf import dense
from vaecf.dense import DensePlan, blocked_nll, dense_first_layer, dense_nll, entries, gathered_first_layer, plan
from vaecf.model import MultVae

Array = npt.NDArray[np.float64]
HIDDEN = 6
BOUNDS = {tf.float32: 3e-6, tf.bfloat16: 2e-2, tf.float16: 2.5e-3}
"""Largest difference of a value or a gradient from float64, as a share of the largest number in it."""
KINDS = pytest.mark.parametrize("kind", BOUNDS, ids=lambda kind: kind.name)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Histories of some users, two of whom have no item, and two places without a user."""

    table: ChunkTable
    history: Array
    """[P, I] with rows of 0 for the places without a user."""
    part: ChunkPart
    hidden: Array
    kernel: Array
    bias: Array

    @property
    def found(self) -> dense.Entries:
        rows = tf.cast(self.part.rows, tf.int32)
        items = self.table.items_of(self.part.chunks)
        return entries(items, rows, tf.constant(len(self.history)), self.history.shape[1])


def csr(history: npt.NDArray[Any]) -> Csr:
    indptr = np.concatenate([[0], np.cumsum((history > 0).sum(axis=1))]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.nonzero(history)[1].astype(np.int32), n_items=history.shape[1])


def case(n_items: int, users: int = 9, seed: int = 0, share: float = 0.4) -> Case:
    rng = np.random.default_rng(seed)
    history = (rng.random((users, n_items)) < share).astype(np.float64)
    history[2], history[5] = 0, 0
    history[0, -1] = 1
    table = chunk_table(csr(history), float("inf"))
    rows, chunks, owners = chunked(table, np.arange(users), users + 2, 1, usual=users)
    history = np.concatenate([history, np.zeros((2, n_items))])
    part = ChunkPart(
        tf.constant(rows[0]), tf.constant(history.sum(axis=1), tf.float32), tf.constant(chunks[0]),
        tf.constant(owners[0]), tf.constant(0, tf.int64), tf.constant(float(users)),
    )  # fmt: skip
    hidden, kernel, bias = (rng.standard_normal(s) for s in ((users + 2, HIDDEN), (HIDDEN, n_items), (n_items,)))
    return Case(table=table, history=history, part=part, hidden=hidden, kernel=kernel, bias=bias)


def narrowed(values: Array, kind: tf.DType) -> Array:
    """The values as the type stores them: what it rounds is not the functions' fault."""
    return tf.cast(tf.constant(values, tf.float32), kind).numpy().astype(np.float64)


def expected_nll(one: Case, kind: tf.DType) -> tuple[float, list[Array]]:
    """Value, and gradients for hidden, kernel and bias, by the formula (Liang et al. 2018, equation 2)."""
    hidden, kernel = narrowed(one.hidden, kind), narrowed(one.kernel, kind)
    logits = hidden @ kernel + one.bias.astype(np.float32)
    peak = logits.max(axis=1, keepdims=True)
    log_total = peak + np.log(np.exp(logits - peak).sum(axis=1, keepdims=True))
    counts = one.history.sum(axis=1, keepdims=True)
    inner = counts * np.exp(logits - log_total) - one.history
    value = float((one.history * (log_total - logits)).sum())
    return value, [inner @ kernel.T, hidden.T @ inner, inner.sum(axis=0)]


def compiled_nll(one: Case, kind: tf.DType, block: int | None) -> tuple[float, list[Array]]:
    """The same by the compiled functions, for 0.5 times the loss; gradients doubled again."""
    hidden = tf.Variable(one.hidden, dtype=tf.float32)
    kernel, bias = tf.Variable(one.kernel, dtype=tf.float32), tf.Variable(one.bias, dtype=tf.float32)

    @tf.function(jit_compile=True)
    def compute() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            last, found = tf.cast(hidden, kind), one.found
            loss = (
                dense_nll(last, kernel, bias, found, one.part.counts)
                if block is None
                else blocked_nll(last, kernel, bias, found, one.part.counts, block)
            )
            target = 0.5 * loss
        return loss, tape.gradient(target, [hidden, kernel, bias])

    value, gradients = compute()
    assert all(g.dtype == tf.float32 for g in gradients)
    return float(value), [2.0 * g.numpy().astype(np.float64) for g in gradients]


def check_near(got: Any, expected: Any, bound: float) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= bound * np.abs(expected).max()


@KINDS
@pytest.mark.parametrize(
    ("n_items", "block"),
    [(100, None), (64, None), (3, None), (100, 7), (100, 33), (100, 100), (64, 16), (3, 8), (100, 1000)],
)
def test_likelihood_and_gradients(kind: tf.DType, n_items: int, block: int | None) -> None:
    """All items at once, and in blocks that divide the items, that do not, and that are larger."""
    one = case(n_items)
    (value, gradients), (wanted, expected) = compiled_nll(one, kind, block), expected_nll(one, kind)
    assert value == pytest.approx(wanted, rel=BOUNDS[kind])
    for got, right in zip(gradients, expected, strict=True):
        check_near(got, right, BOUNDS[kind])
    for row in (2, 5, 9, 10):  # users without items, places without a user
        assert not gradients[0][row].any()


@pytest.mark.parametrize("block", [None, 7])
def test_places_without_a_user_add_nothing(block: int | None) -> None:
    """To the last bit: a place that holds a wild hidden layer, or nothing."""
    one = case(100)
    value, gradients = compiled_nll(one, tf.float32, block)
    one.hidden[9:] = [[1e4], [-3e5]]
    again, others = compiled_nll(one, tf.float32, block)
    assert value == again
    for got, other in zip(gradients, others, strict=True):
        assert got.tobytes() == other.tobytes()


@pytest.mark.parametrize(("n_items", "padding"), [(20_108, 52), (64, 0), (1, 63), (1_000_000, 0)])
def test_items_are_padded_to_a_multiple_of_64(n_items: int, padding: int) -> None:
    assert dense.padded(n_items) - n_items == padding


@KINDS
@pytest.mark.parametrize("block", [None, 1000])
def test_a_padded_item_has_no_probability(kind: tf.DType, block: int | None) -> None:
    """ML-20M's 20,108 items with equal logits of -50: with the 52 padded ones at 0 they would have nothing left."""
    n_items = 20_108
    history = np.zeros((2, n_items))
    history[0, [0, n_items - 1]] = 1
    table = chunk_table(csr(history), float("inf"))
    _, chunks, owners = chunked(table, np.arange(2), 2, 1, usual=1)
    found = entries(table.items_of(tf.constant(chunks[0])), tf.constant(owners[0], tf.int32), tf.constant(2), n_items)
    hidden, counts = tf.zeros([2, 1], kind), tf.constant([2.0, 0.0])

    @tf.function(jit_compile=True)
    def compute(kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(bias)
            if block is None:
                loss = dense_nll(hidden, kernel, bias, found, counts)
            else:
                loss = blocked_nll(hidden, kernel, bias, found, counts, block)
        return loss, tape.gradient(loss, bias)

    value, gradient = compute(tf.zeros([1, n_items]), tf.fill([n_items], -50.0))
    assert float(value) == pytest.approx(2 * np.log(20_108), rel=1e-5)
    assert gradient.shape == [n_items]
    assert float(tf.reduce_sum(gradient)) == pytest.approx(0.0, abs=2e-2)  # all probability is at the real items


def layer(way: Callable[..., tf.Tensor], one: Case, kept: npt.NDArray | None, kind: tf.DType) -> tuple[Array, Array]:
    """Sums, and the kernel's gradient of the sums weighted by `hidden`."""
    kernel, weights = tf.Variable(one.kernel.T, dtype=tf.float32), tf.constant(one.hidden, tf.float32)
    mask = None if kept is None else tf.constant(kept)

    @tf.function(jit_compile=True)
    def compute() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            sums = way(kernel, one.found, mask, kind)
            target = tf.reduce_sum(sums * weights)
        return sums, tape.gradient(target, kernel)

    sums, gradient = compute()
    assert sums.dtype == gradient.dtype == tf.float32
    return sums.numpy(), gradient.numpy()


@KINDS
@pytest.mark.parametrize("n_items", [100, 64, 3])
@pytest.mark.parametrize("way", [dense_first_layer, gathered_first_layer], ids=["dense", "gathered"])
@pytest.mark.parametrize("drops", [False, True])
def test_first_layer_and_gradient(way: Callable[..., tf.Tensor], n_items: int, drops: bool, kind: tf.DType) -> None:
    one = case(n_items)
    kept, history = None, one.history
    if drops:
        keeps = np.random.default_rng(1).random(history.shape) < 0.5
        items, rows = one.found.items.numpy(), one.found.rows.numpy()
        kept = keeps[np.minimum(rows, len(history) - 1), np.minimum(items, n_items - 1)]
        history = history * keeps
    sums, gradient = layer(way, one, kept, kind)
    check_near(sums, history @ narrowed(one.kernel.T, kind), BOUNDS[kind])
    check_near(gradient, history.T @ narrowed(one.hidden, kind), BOUNDS[kind])
    for row in (2, 5, 9, 10):
        assert not sums[row].any()


COMPILED = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
"""On a CPU, XLA adds up products of float16 in float32, and GPUs do not: Eigen's products show what happens there."""


def run(function: Callable[[], Any], compiled: bool) -> Any:
    return tf.function(function, jit_compile=True)() if compiled else function()


@COMPILED
@pytest.mark.parametrize("block", [None, 4])
def test_sums_over_users_pass_the_largest_number_of_fp16(block: int | None, compiled: bool) -> None:
    """100,000 users who all lack one item: its gradient, 75,000, is beyond float16 before any loss scale acts."""
    users = 100_000
    found = entries(tf.constant([[0, 1, 2]] * users), tf.range(users), tf.constant(users), n_items=4)
    hidden, kernel, counts = tf.ones([users, 2], tf.float16), tf.Variable(tf.zeros([2, 4])), tf.fill([users], 3.0)

    def compute() -> tf.Tensor:
        with tf.GradientTape() as tape:
            if block is None:
                loss = dense_nll(hidden, kernel, tf.zeros([4]), found, counts)
            else:
                loss = blocked_nll(hidden, kernel, tf.zeros([4]), found, counts, block)
        return tape.gradient(loss, kernel)

    assert run(compute, compiled).numpy() == pytest.approx(np.array([[-25e3, -25e3, -25e3, 75e3]] * 2), rel=2e-3)


@COMPILED
@pytest.mark.parametrize("way", [dense_first_layer, gathered_first_layer], ids=["dense", "gathered"])
def test_a_first_layer_passes_the_largest_number_of_fp16(way: Callable[..., tf.Tensor], compiled: bool) -> None:
    """A user whose 3,200 rows add up to 96,000; and 4,000 users of 32 items, whose gradients add up to 80,000."""
    users, n_items = 4_000, 3_200
    chunks = tf.concat([tf.reshape(tf.range(n_items), [100, 32]), tf.tile([tf.range(32)], [users - 1, 1])], axis=0)
    owners = tf.concat([tf.zeros([100], tf.int32), tf.range(1, users)], axis=0)
    found, kernel = entries(chunks, owners, tf.constant(users), n_items), tf.Variable(tf.fill([n_items, 16], 30.0))

    def compute() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            sums = way(kernel, found, None, tf.float16)
            target = 20.0 * tf.reduce_sum(sums)
        return sums, tape.gradient(target, kernel)

    sums, gradient = run(compute, compiled)
    assert sums.numpy()[:2] == pytest.approx(np.array([[96_000.0], [960.0]]) * np.ones(16), rel=1e-3)
    assert gradient.numpy()[[0, 99]] == pytest.approx(np.array([[80_000.0], [20.0]]) * np.ones(16), rel=1e-3)


def test_huge_logits_stay_finite() -> None:
    one = case(100)
    one.bias[7] = 1e5
    for block in (None, 33):
        (value, gradients), (wanted, expected) = compiled_nll(one, tf.float32, block), expected_nll(one, tf.float32)
        assert value == pytest.approx(wanted, rel=1e-6)
        for got, right in zip(gradients, expected, strict=True):
            check_near(got, right, 1e-5)


@pytest.mark.parametrize(
    ("n_items", "users", "itemsize", "budget", "expected"),
    [
        # J = 20,160 items of 2 * 4 + 4 bytes are 241,920 bytes a user: 110,367 users fit 26.7 GB
        (20_108, 24_576, 2, 26.7e9, DensePlan(parts=1, is_dense=True, block=20_160)),
        (20_108, 100_000, 2, 26.7e9, DensePlan(parts=1, is_dense=True, block=20_160)),
        (20_108, 200_000, 2, 26.7e9, DensePlan(parts=2, is_dense=True, block=20_160)),
        (20_108, 24_576, 4, 2 * 2**30, DensePlan(parts=5, is_dense=True, block=20_160)),
        (65_536, 500, 2, 26.7e9, DensePlan(parts=1, is_dense=True, block=65_536)),
        (65_537, 500, 2, 26.7e9, DensePlan(parts=1, is_dense=False, block=65_536)),
        # 65,536 items of 12 bytes are 786,432 bytes a user: 33,950 users fit
        (1_000_000, 100_000, 2, 26.7e9, DensePlan(parts=3, is_dense=False, block=65_536)),
        (1_000_000, 100_000, 4, 2 * 2**30, DensePlan(parts=62, is_dense=False, block=65_536)),
        (300, 10, 4, 1.0, DensePlan(parts=10, is_dense=True, block=320)),  # never less than a user
        (3, 1, 2, 1e9, DensePlan(parts=1, is_dense=True, block=64)),
    ],
)
def test_plans_by_hand(n_items: int, users: int, itemsize: int, budget: float, expected: DensePlan) -> None:
    got = plan(n_items, users, itemsize, budget)
    assert got == expected
    if budget > 1:
        assert -(-users // got.parts) * got.block * (4 * itemsize + 4) <= budget


def test_rows_that_are_looked_up_count_in_the_budget() -> None:
    """Users of 40 chunks: 40 * 32 * 600 * 4 bytes of looked-up rows each, four times the rest."""
    assert plan(1_000_000, 10_000, 2, 26.7e9, 40 * 32 * 600 * 4.0).parts == 2  # 3,858,432 bytes a user: 6,919 fit
    assert plan(1_000_000, 10_000, 2, 26.7e9).parts == 1
    assert plan(20_108, 10_000, 2, 26.7e9, 1e12).parts == 1  # nothing is looked up where rows are dense


@pytest.mark.parametrize("hidden", [(), (7,)])
@pytest.mark.parametrize(("dense_items", "n_items"), [(1 << 16, 90), (50, 90), (1 << 16, 5)])
def test_a_tiny_budget_cuts_the_batch_in_parts(
    dense_items: int, n_items: int, hidden: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's loss: the sum over parts of one user each is the sparse loss of the whole batch."""
    monkeypatch.setattr(dense, "DENSE_ITEMS", dense_items)
    monkeypatch.setattr(dense, "BLOCK_ITEMS", 32)
    history = np.random.default_rng(0).random((20, n_items)) < 0.5
    model = MultVae(Dataset.from_csr(csr(history)), hidden=hidden, latent=3, seed=1)
    training, world, progress = TrainingConfig(batch_size=8), World(), tf.constant(0.5)
    model.prepare_training(training, world)
    batches = list(model.batches(training, world, 0, 3))
    expected = [{name: float(v) for name, v in model.loss(batch, progress).items()} for batch in batches]
    model.prepare_training(training, world, step_bytes=1.0)
    assert model.parts_per_step == 8
    compiled = tf.function(lambda part: model.loss(part, progress), jit_compile=True, reduce_retracing=True)
    for batch, wanted in zip(model.batches(training, world, 0, 3), expected, strict=True):
        shares = [compiled(ChunkPart(*(field[k] for field in batch))) for k in range(8)]
        for name, value in wanted.items():
            assert sum(float(share[name]) for share in shares) == pytest.approx(value, rel=2e-5, abs=1e-7)
