"""Top-k, its ties, exclusion of seen items, membership."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from recsys_core import topk


def test_the_lower_item_wins_a_tie() -> None:
    scores, items = topk.top_k(tf.constant([[1.0, 3.0, 3.0, 2.0, 3.0]]), 4)
    assert items.numpy().tolist() == [[1, 2, 4, 3]]
    assert scores.numpy().tolist() == [[3.0, 3.0, 3.0, 2.0]]


@pytest.mark.parametrize("n_items", [640, 641, 2000, 2047])
@pytest.mark.parametrize("values", [2, 5, 40, 10**6])
def test_of_many_it_is_the_same(n_items: int, values: int) -> None:
    """Whatever ties there are, within groups and between them, and where more are excluded than not."""
    rng = np.random.default_rng([n_items, values])
    scores = rng.integers(0, values, (50, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < rng.random((50, 1))] = -np.inf
    scores[-1] = -np.inf
    for k in (1, 9, 10):
        expected = topk.top_k(tf.constant(scores), k)
        got = topk.top_k_of_many(tf.constant(scores), k)
        assert (got[0].numpy() == expected[0].numpy()).all()
        assert (got[1].numpy() == expected[1].numpy()).all()


def test_of_many_the_best_may_stand_in_one_group() -> None:
    scores = np.zeros((1, 1000), np.float32)
    scores[0, 320:328] = [1, 2, 3, 4, 4, 3, 2, 9]
    assert topk.top_k_of_many(tf.constant(scores), 10)[1].numpy().tolist() == [
        [327, 323, 324, 322, 325, 321, 326, 320, 0, 1]
    ]


def test_few_items_are_sorted_as_a_whole() -> None:
    """The short way would look at as many."""
    graph = tf.function(lambda scores: topk.top_k_of_many(scores, 10))
    for n_items, is_whole in ((639, True), (640, False)):
        concrete = graph.get_concrete_function(tf.TensorSpec([None, n_items]))
        assert (sum(op.type == "TopKV2" for op in concrete.graph.get_operations()) == 1) is is_whole


def test_seen_items_are_excluded() -> None:
    scores = topk.exclude(tf.zeros([3, 4]), tf.constant([0, 3, 1], tf.int32), tf.constant([0, 2, 2, 3], tf.int64))
    infinite = np.isneginf(scores.numpy())
    assert infinite.tolist() == [[True, False, False, True], [False] * 4, [False, True, False, False]]


def test_membership_by_hand() -> None:
    items = tf.constant([[2, 0], [1, 3], [3, 2]], tf.int32)
    wanted, splits = tf.constant([0, 3, 3], tf.int32), tf.constant([0, 1, 2, 3], tf.int64)
    assert topk.is_member(items, wanted, splits, 4).numpy().tolist() == [[False, True], [False, True], [True, False]]


def test_membership_against_sets() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        n_items, users = 30, 7
        rows = [np.sort(rng.choice(n_items, rng.integers(0, 9), replace=False)) for _ in range(users)]
        asked = rng.integers(0, n_items, (users, 5)).astype(np.int32)
        splits = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
        got = topk.is_member(
            tf.constant(asked), tf.constant(np.concatenate(rows), tf.int32), tf.constant(splits, tf.int64), n_items
        ).numpy()
        assert got.tolist() == [
            [item in set(row.tolist()) for item in line] for row, line in zip(rows, asked, strict=True)
        ]
