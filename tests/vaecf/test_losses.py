"""The chunked likelihood against the dense formula and automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.input.batches import rows_of
from vaecf import item_blocks, losses
from vaecf.item_blocks import chunk_by_blocks
from vaecf.losses import _even_chunk, kl_divergence, multinomial_nll

USERS, HIDDEN, ITEMS = 11, 5, 17


def case(seed: int = 0) -> tuple[tf.Variable, tf.Variable, tf.Variable, np.ndarray, tf.Tensor, tf.Tensor]:
    """Random layer and histories (one of them empty); the dense history [B, I] for the formula."""
    rng = np.random.default_rng(seed)
    hidden, kernel, bias = (
        tf.Variable(rng.standard_normal(shape), dtype=tf.float32)
        for shape in ((USERS, HIDDEN), (HIDDEN, ITEMS), (ITEMS,))
    )
    dense = (rng.random((USERS, ITEMS)) < 0.3).astype(np.float32)
    dense[4] = 0
    splits = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    return hidden, kernel, bias, dense, tf.constant(np.nonzero(dense)[1], tf.int32), tf.constant(splits)


@pytest.mark.parametrize("chunk", [None, 1, 3, 4, 11, 500])
def test_value_and_gradients_equal_the_dense_formula(chunk: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 4 * ITEMS + 3)  # four users where no chunk is given
    hidden, kernel, bias, dense, item_ids, splits = case()
    weights = [hidden, kernel, bias]
    with tf.GradientTape() as tape:
        expected = -0.3 * tf.reduce_sum(dense * tf.nn.log_softmax(hidden @ kernel + bias))
    wanted = tape.gradient(expected, weights)
    with tf.GradientTape() as tape:
        got = 0.3 * multinomial_nll(
            tf.convert_to_tensor(hidden), tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias),
            item_ids, splits, chunk_users=chunk,
        )  # fmt: skip
    assert float(got) == pytest.approx(float(expected), rel=1e-5)
    for left, right in zip(tape.gradient(got, weights), wanted, strict=True):
        assert left.numpy() == pytest.approx(right.numpy(), abs=1e-5)


def test_blocks_of_items_equal_the_dense_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven users do not fit a chunk of four: blocks of 5 and 2 items take its place, also under a mean over ranks."""
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 4 * ITEMS + 3)
    monkeypatch.setattr(losses, "FEW_USERS", 5)
    monkeypatch.setattr(item_blocks, "FEWEST", 1)
    monkeypatch.setattr(item_blocks, "LOGITS", 5 * USERS)
    monkeypatch.setattr(losses, "_in_chunks", lambda *given: tuple(0.0 * g for g in (given[2][0], *given[:3])))
    hidden, kernel, bias, dense, item_ids, splits = case()
    weights = [hidden, kernel, bias]

    @tf.function(autograph=False)
    def by_blocks() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = 0.3 * multinomial_nll(tf.convert_to_tensor(hidden), kernel, bias, item_ids, splits)
        return [loss, *tape.gradient(loss, weights)]

    with tf.GradientTape() as tape:
        expected = -0.3 * tf.reduce_sum(dense * tf.nn.log_softmax(hidden @ kernel + bias))
    got = by_blocks()
    assert float(got[0]) == pytest.approx(float(expected), rel=1e-5)
    for left, right in zip(got[1:], tape.gradient(expected, weights), strict=True):
        assert left.numpy() == pytest.approx(right.numpy(), rel=1e-5, abs=1e-5)


def by_blocks_in(kind: tf.DType) -> list[np.ndarray]:
    """Loss and gradients of blocks of 2 items in a type of products."""
    hidden, kernel, bias, _, item_ids, splits = case(3)
    counts = tf.cast(splits[1:] - splits[:-1], tf.float32)
    found = chunk_by_blocks(tf.cast(hidden, kind), tf.cast(kernel, kind), bias * 1.0, item_ids, rows_of(splits), counts)
    return [tf.cast(tensor, tf.float32).numpy() for tensor in found]


@pytest.mark.parametrize("kind", [tf.bfloat16, tf.float16])
def test_blocks_in_narrow_types_come_close(kind: tf.DType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_blocks, "FEWEST", 2)
    monkeypatch.setattr(item_blocks, "LOGITS", 2)
    for narrow, exact in zip(by_blocks_in(kind), by_blocks_in(tf.float32), strict=True):
        assert np.linalg.norm(narrow - exact) <= 0.02 * np.linalg.norm(exact)


def test_blocks_with_huge_logits_and_with_no_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_blocks, "FEWEST", 1)
    monkeypatch.setattr(item_blocks, "LOGITS", 1)
    rows, counts = tf.constant([0], tf.int64), tf.constant([1.0])
    kernel = tf.constant([[-2e4, 1e4, 0.0]])
    got = chunk_by_blocks(tf.constant([[1.0]]), kernel, tf.zeros([3]), tf.constant([2]), rows, counts)
    assert [float(g) for g in (got[0], got[1][0, 0])] == pytest.approx([1e4, 1e4])
    none = tf.zeros([0, 1]), kernel, tf.zeros([3]), tf.zeros([0], tf.int32), tf.zeros([0], tf.int64), tf.zeros([0])
    loss, _, for_kernel, for_bias = chunk_by_blocks(*none)
    assert float(loss) == 0.0
    assert not for_kernel.numpy().any()
    assert not for_bias.numpy().any()


@pytest.mark.parametrize(
    ("users", "items", "blocks"), [(9, 100, False), (9, 101, False), (12, 101, True), (12, 99, False)]
)
def test_where_blocks_take_the_place_of_chunks(
    users: int, items: int, blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk holds ten users at 100 items; few are fewer than ten."""
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 1000)
    monkeypatch.setattr(losses, "FEW_USERS", 10)
    monkeypatch.setattr(losses, "chunk_by_blocks", lambda *given: tuple(0.0 * g + 1 for g in (given[2][0], *given[:3])))
    monkeypatch.setattr(losses, "_in_chunks", lambda *given: tuple(0.0 * g for g in (given[2][0], *given[:3])))
    splits = tf.zeros([users + 1], tf.int64)
    given = tf.zeros([users, 1]), tf.zeros([1, items]), tf.zeros([items]), tf.zeros([0], tf.int32)
    assert float(multinomial_nll(*given, splits)) == float(blocks)
    assert float(multinomial_nll(*given, splits, chunk_users=1)) == 0.0


@pytest.mark.parametrize(
    ("users", "most", "expected"), [(2000, 2500, 2000), (4000, 2500, 2000), (7, 3, 3), (9, 4, 3), (1, 1, 1), (0, 5, 1)]
)
def test_chunks_are_even(users: int, most: int, expected: int) -> None:
    assert int(_even_chunk(tf.constant(users), most)) == expected


def test_one_user_by_hand() -> None:
    # logits (0, 0, ln 2): probabilities 1/4, 1/4, 1/2; items 0 and 2 cost ln 4 + ln 2
    got = multinomial_nll(
        tf.constant([[1.0]]), tf.constant([[0.0, 0.0, 0.0]]), tf.constant([0.0, 0.0, np.log(2.0)], tf.float32),
        tf.constant([0, 2], tf.int32), tf.constant([0, 2], tf.int64),
    )  # fmt: skip
    assert float(got) == pytest.approx(np.log(8.0), rel=1e-6)


def test_huge_logits_stay_finite() -> None:
    got = multinomial_nll(
        tf.constant([[1.0]]),
        tf.constant([[1e4, 0.0]]),
        tf.zeros([2]),
        tf.constant([1], tf.int32),
        tf.constant([0, 1], tf.int64),
    )
    assert float(got) == pytest.approx(1e4)


def test_no_users_at_all() -> None:
    _, kernel, bias, _, _, _ = case()
    with tf.GradientTape() as tape:
        loss = multinomial_nll(
            tf.zeros([0, HIDDEN]), tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias),
            tf.zeros([0], tf.int32), tf.zeros([1], tf.int64),
        )  # fmt: skip
    assert float(loss) == 0.0
    assert not tape.gradient(loss, kernel).numpy().any()


@pytest.mark.parametrize("kind", [tf.bfloat16, tf.float16])
def test_narrow_types_come_close(kind: tf.DType) -> None:
    hidden, kernel, bias, dense, item_ids, splits = case(3)
    expected = -np.sum(dense * tf.nn.log_softmax(hidden @ kernel + bias).numpy())
    got = multinomial_nll(
        tf.cast(hidden, kind), tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias), item_ids, splits
    )
    assert float(got) == pytest.approx(expected, rel=0.01)


def test_fp16_gradients_of_a_large_batch_survive() -> None:
    """A mean over many users has gradients below fp16's smallest number; taken for the sum they are exact enough."""
    users, weight = 4096, 1.0 / 4096
    kernel = tf.Variable(np.random.default_rng(0).standard_normal((HIDDEN, 2000)) * 0.01, dtype=tf.float32)
    hidden = tf.constant(np.random.default_rng(1).standard_normal((users, HIDDEN)), tf.float32)
    item_ids, splits = tf.zeros([users], tf.int32), tf.range(users + 1, dtype=tf.int64)
    gradients = []
    for kind in (tf.float32, tf.float16):
        with tf.GradientTape() as tape:
            loss = weight * multinomial_nll(tf.cast(hidden, kind), kernel * 1.0, tf.zeros([2000]), item_ids, splits)
        gradients.append(tape.gradient(loss, kernel).numpy())
    assert np.abs(gradients[0]).max() < 0.1
    error = np.linalg.norm(gradients[0] - gradients[1]) / np.linalg.norm(gradients[0])
    assert error < 0.01


def test_kl_by_hand() -> None:
    assert kl_divergence(tf.zeros([1, 3]), tf.zeros([1, 3])).numpy().tolist() == [0.0]
    # mean 2, variance e: (e + 4 - 1 - 1) / 2
    assert float(kl_divergence(tf.constant([[2.0]]), tf.constant([[1.0]]))[0]) == pytest.approx((np.e + 2) / 2)


def test_the_kernels_gradient_is_summed_in_float32() -> None:
    """100,000 users who all lack one item: its gradient, 75,000, is beyond float16 before any loss scale acts."""
    users = 100_000
    item_ids, row_splits = tf.constant([0, 1, 2] * users, tf.int32), tf.range(0, 3 * users + 1, 3, tf.int64)
    hidden, kernel, bias = tf.ones([users, 2], tf.float16), tf.Variable(tf.zeros([2, 4])), tf.zeros([4])
    with tf.GradientTape() as tape:
        loss = multinomial_nll(hidden, kernel, bias, item_ids, row_splits) / users
    gradient = tape.gradient(loss, kernel).numpy()
    assert gradient == pytest.approx(np.array([[-0.25, -0.25, -0.25, 0.75]] * 2), abs=1e-3)
