"""Top-k, its ties, exclusion of seen items, membership."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from recsys_core import topk


def test_the_lower_item_wins_a_tie() -> None:
    scores, items = topk.top_k(tf.constant([[1.0, 3.0, 3.0, 2.0, 3.0]]), 4)
    assert items.numpy().tolist() == [[1, 2, 4, 3]]
    assert scores.numpy().tolist() == [[3.0, 3.0, 3.0, 2.0]]


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
