"""Sparse products below a limit that is lowered: the same numbers as in one piece, and the dense formula's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core import numerics, sparse_products
from recsys_core.sparse_products import GPU_LIMIT, sparse_product

USERS, ITEMS, WIDTH = 9, 7, 5


def entries(seed: int = 0) -> tuple[np.ndarray, tuple[tf.Tensor, ...]]:
    """A random matrix [B, I], a row in the middle and the last one empty, dense and as arguments of the product."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((USERS, ITEMS)) < 0.6) * rng.standard_normal((USERS, ITEMS)).astype(np.float32)
    dense[4] = dense[-1] = 0
    rows, items = np.nonzero(dense)
    values = tf.constant(dense[rows, items], tf.float32)
    return dense, (tf.constant(items, tf.int32), tf.constant(rows, tf.int64), values, tf.constant(USERS, tf.int64))


def kernel() -> tf.Variable:
    return tf.Variable(np.random.default_rng(1).standard_normal((ITEMS, WIDTH)).astype(np.float32))


def value_and_gradient(table: tf.Variable, given: tuple[tf.Tensor, ...], graph: bool) -> list[np.ndarray]:
    def both() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            product = sparse_product(*given, table)
            target = tf.reduce_sum(tf.sin(product))
        return [product, tape.gradient(target, table)]

    return [t.numpy() for t in (tf.function(both, autograph=False) if graph else both)()]


class Calls:
    """The largest of the operator's three sizes in each call, and how often it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self._operator = tf.sparse.sparse_dense_matmul
        monkeypatch.setattr(tf.sparse, "sparse_dense_matmul", self)

    def __call__(self, a: tf.SparseTensor, b: tf.Tensor, adjoint_a: bool = False) -> tf.Tensor:
        product = self._operator(a, b, adjoint_a=adjoint_a)
        self.sizes.append(max(int(tf.size(b)), int(tf.size(product)), int(tf.size(a.values)) * int(b.shape[1])))
        return product


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("limit", [36, 41, 60, 100, 10**6])  # 7 x 5 = 35 numbers in the kernel
def test_blocks_give_the_same_numbers(limit: int, graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    _, given = entries()
    table = kernel()
    whole = value_and_gradient(table, given, graph)
    monkeypatch.setattr(sparse_products, "product_limit", lambda kernel: limit)
    for one, cut in zip(whole, value_and_gradient(table, given, graph), strict=True):
        assert cut.tolist() == one.tolist()


@pytest.mark.parametrize("limit", [8, 15, 29])
def test_a_kernel_above_the_limit_is_cut_too(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """8: one column at a time, and one user, who has 7 items at most."""
    _, given = entries()
    table = kernel()
    whole = value_and_gradient(table, given, graph=False)
    monkeypatch.setattr(sparse_products, "product_limit", lambda kernel: limit)
    for one, cut in zip(whole, value_and_gradient(table, given, graph=False), strict=True):
        assert cut.tolist() == one.tolist()


@pytest.mark.parametrize("limit", [29, 36, 60])  # 27 interactions
def test_every_product_stays_below_the_limit(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_products, "product_limit", lambda kernel: limit)
    calls = Calls(monkeypatch)
    value_and_gradient(kernel(), entries()[1], graph=False)
    assert len(calls.sizes) > 2
    assert max(calls.sizes) < limit


@pytest.mark.parametrize("limit", [36, 60, 10**6])
def test_the_deterministic_form_is_the_dense_product(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dense, given = entries()
    table = kernel()
    monkeypatch.setattr(sparse_products, "product_limit", lambda kernel: limit)
    monkeypatch.setattr(numerics, "are_operators_deterministic", lambda: True)
    calls = Calls(monkeypatch)
    product, gradient = value_and_gradient(table, given, graph=True)
    assert product == pytest.approx(dense @ table.numpy(), abs=1e-5)
    assert gradient == pytest.approx(dense.T @ np.cos(dense @ table.numpy()), abs=1e-5)
    assert calls.sizes == []  # the sparse operator has no deterministic form on GPUs


def test_no_users_and_no_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_products, "product_limit", lambda kernel: 36)
    none = tf.zeros([0], tf.int32), tf.zeros([0], tf.int64), tf.zeros([0])
    assert sparse_product(*none, tf.constant(0, tf.int64), kernel()).shape == (0, WIDTH)
    assert sparse_product(*none, tf.constant(20, tf.int64), kernel()).numpy().tolist() == [[0.0] * WIDTH] * 20


def test_where_the_limit_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    table = kernel()
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    assert sparse_products.product_limit(table) is None
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    assert sparse_products.product_limit(table) is None  # the variable lies on the host
    assert sparse_products.product_limit(OnGpu()) == GPU_LIMIT == 2147483647
    monkeypatch.setattr(numerics, "are_operators_deterministic", lambda: True)
    assert sparse_products.product_limit(OnGpu()) == 268435456


class OnGpu:
    """The part of a variable on a GPU that is asked."""

    device: Any = "/job:localhost/replica:0/task:0/device:GPU:0"


def test_the_operator_itself_at_its_limit() -> None:
    """The rule that the blocks follow, against TensorFlow's own kernel."""
    if not tf.config.list_logical_devices("GPU"):
        pytest.skip("no GPU here: TensorFlow's sparse product has its limit on GPUs only")
    width, count = 2**16, 2**15  # 2^31 in all
    where = tf.stack([tf.range(count, dtype=tf.int64) % 8, tf.zeros([count], tf.int64)], axis=1)
    history = tf.SparseTensor(where, tf.ones([count]), [8, 1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="2\\^31"):
        tf.sparse.sparse_dense_matmul(history, tf.ones([1, width]))
    rows = tf.sort(where[:, 0])
    got = sparse_product(
        tf.zeros([count], tf.int32), rows, tf.ones([count]), tf.constant(8, tf.int64), tf.ones([1, width])
    )
    assert (got.numpy() == count / 8).all()


@pytest.mark.parametrize(("limit", "deterministic"), [(None, False), (100, False), (100, True)])
def test_rows_give_the_same_numbers(limit: int | None, deterministic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient has the rows of the items that occur, each once."""
    dense, (items, *others) = entries()
    known, table = tf.gather(tf.constant([3, 30, 7, 1, 12, 20, 9]), items), tf.Variable(tf.random.normal([40, WIDTH]))
    monkeypatch.setattr(sparse_products, "product_limit", lambda kernel: limit)
    monkeypatch.setattr(numerics, "are_operators_deterministic", lambda: deterministic)

    @tf.function(autograph=False)
    def both(by_rows: bool) -> list[Any]:
        with tf.GradientTape() as tape:
            product = sparse_product(known, *others, table, by_rows=by_rows)
            target = tf.reduce_sum(tf.sin(product))
        return [product, tape.gradient(target, table)]

    (product, rows), (expected, whole) = both(True), both(False)
    assert product.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert sorted(rows.indices.numpy()) == [1, 3, 7, 9, 12, 20, 30]
    assert tf.convert_to_tensor(rows).numpy() == pytest.approx(whole.numpy(), abs=1e-6)
