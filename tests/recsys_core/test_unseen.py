"""The best unseen items, with a scatter and from a pool, against a sort in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core import topk


def _sorted(scores: npt.NDArray, seen: Sequence[Sequence[int]], k: int) -> tuple[list[list[int]], list[list[float]]]:
    """Higher score first, on a tie the lower item; -1 and minus infinity where nothing is left."""
    items, values = [], []
    for row, own in zip(scores.tolist(), seen, strict=True):
        left = sorted((i for i in range(len(row)) if i not in own), key=lambda i, row=row: (-row[i], i))[:k]
        items.append(left + [-1] * (k - len(left)))
        values.append([row[i] for i in left] + [-np.inf] * (k - len(left)))
    return items, values


def _padded(rng: np.random.Generator, seen: Sequence[Sequence[int]], n_items: int, width: int) -> npt.NDArray[np.int32]:
    """Each row's items in any order, padding among them."""
    block = np.full((len(seen), width), n_items, np.int32)
    for row, own in zip(block, seen, strict=True):
        row[rng.choice(width, len(own), replace=False)] = rng.permutation(np.array(own, np.int32))
    return block


def _check(found: dict[str, tf.Tensor], scores: npt.NDArray, seen: Sequence[Sequence[int]], k: int) -> None:
    items, values = _sorted(scores, seen, k)
    assert found["items"].dtype == tf.int32
    assert found["items"].numpy().tolist() == items
    assert found["scores"].numpy().tolist() == values


def _draw(rng: np.random.Generator, n_items: int, users: int, most: int) -> tuple[npt.NDArray, list[list[int]]]:
    """Scores of few different values, so that most tie, and what each user has: nothing, some, everything."""
    scores = rng.integers(-3, 3, (users, n_items)).astype(np.float32) / 4
    counts = rng.integers(0, most + 1, users)
    counts[:2] = 0, most
    return scores, [rng.choice(n_items, c, replace=False).tolist() for c in counts]


def test_by_hand() -> None:
    scores = tf.constant([[1.0, 3.0, 3.0, 2.0], [0.0, -1.0, 5.0, 5.0]])
    seen = tf.constant([[4, 1], [2, 4]], tf.int32)
    for found in (topk.top_k_unseen(scores, seen, 2), topk.top_k_unseen_no_scatter(scores, seen, 2, 4)):
        assert found["items"].numpy().tolist() == [[2, 3], [3, 0]]
        assert found["scores"].numpy().tolist() == [[3.0, 2.0], [5.0, 0.0]]


@pytest.mark.parametrize("seed", range(30))
def test_scatter_against_a_sort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_items, users = int(rng.integers(1, 40)), int(rng.integers(2, 9))
    k = int(rng.integers(1, n_items + 1))
    scores, seen = _draw(rng, n_items, users, n_items)
    block = _padded(rng, seen, n_items, n_items + int(rng.integers(0, 5)))
    _check(topk.top_k_unseen(tf.constant(scores), tf.constant(block), k), scores, seen, k)


@pytest.mark.parametrize("whole", [True, False], ids=["pool of all items", "pool of K + L"])
@pytest.mark.parametrize("seed", range(30))
def test_pool_against_a_sort(seed: int, whole: bool) -> None:
    rng = np.random.default_rng(100 + seed)
    n_items, users = int(rng.integers(4, 40)), int(rng.integers(2, 9))
    most = n_items if whole else n_items // 3
    k = int(rng.integers(1, n_items - most + 1)) if not whole else int(rng.integers(1, n_items + 1))
    pool = n_items if whole else k + most
    scores, seen = _draw(rng, n_items, users, most)
    block = _padded(rng, seen, n_items, max(most, 1))
    _check(topk.top_k_unseen_no_scatter(tf.constant(scores), tf.constant(block), k, pool), scores, seen, k)


@pytest.mark.parametrize("pool", [5, None])
def test_everything_seen_leaves_nothing(pool: int | None) -> None:
    scores, everything = tf.constant([[1.0, 2.0, 3.0, 4.0, 5.0]]), tf.constant([[4, 3, 5, 2, 1, 0]], tf.int32)
    found = (
        topk.top_k_unseen_no_scatter(scores, everything, 3, pool) if pool else topk.top_k_unseen(scores, everything, 3)
    )
    assert found["items"].numpy().tolist() == [[-1, -1, -1]]
    assert np.isneginf(found["scores"].numpy()).all()


@pytest.mark.parametrize("own", [[], [2], [2, 2, 2]], ids=["nothing", "one", "the same thrice"])
def test_rows_of_few_items(own: list[int]) -> None:
    scores = np.array([[0.5, 0.5, 9.0, 0.25, 0.5]], np.float32)
    block = np.array([[*own, 5, 5]], np.int32)
    for found in (
        topk.top_k_unseen(tf.constant(scores), tf.constant(block), 3),
        topk.top_k_unseen_no_scatter(tf.constant(scores), tf.constant(block), 3, 5),
    ):
        _check(found, scores, [own], 3)


def test_no_rows_and_no_columns() -> None:
    nobody = tf.zeros([0, 7]), tf.zeros([0, 3], tf.int32)
    nothing = tf.constant([[0.0, 1.0]]), tf.zeros([1, 0], tf.int32)
    assert topk.top_k_unseen(*nobody, 2)["items"].shape == (0, 2)
    assert topk.top_k_unseen_no_scatter(*nobody, 2, 7)["items"].shape == (0, 2)
    assert topk.top_k_unseen(*nothing, 2)["items"].numpy().tolist() == [[1, 0]]
    assert topk.top_k_unseen_no_scatter(*nothing, 2, 2)["items"].numpy().tolist() == [[1, 0]]


def test_what_is_given_is_not_changed_and_other_rows_are_not_touched() -> None:
    scores = tf.constant([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    found = topk.top_k_unseen(scores, tf.constant([[2, 2], [3, 3]], tf.int32), 3)
    assert found["items"].numpy().tolist() == [[1, 0, -1], [2, 1, 0]]
    assert scores.numpy().tolist() == [[1.0, 2.0, 3.0]] * 2


def test_very_low_scores_are_not_hidden() -> None:
    scores = np.array([[-3e38, -1e30, -2e38]], np.float32)
    for found in (
        topk.top_k_unseen(tf.constant(scores), tf.constant([[1]], tf.int32), 3),
        topk.top_k_unseen_no_scatter(tf.constant(scores), tf.constant([[1]], tf.int32), 3, 3),
    ):
        _check(found, scores, [[1]], 3)
