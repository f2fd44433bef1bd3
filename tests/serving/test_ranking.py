"""The best of all scores on the host, against a sort in Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.recommend.ranking import top_k


@settings(max_examples=300, deadline=None, database=None)
@given(st.data())
def test_it_is_a_sort_with_the_lower_item_first_on_a_tie(data: st.DataObject) -> None:
    rows, n_items = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 30))
    values = st.sampled_from([-np.inf, -2.5, 0.0, 1.0, 1.5, np.inf])
    scores = np.array(data.draw(st.lists(values, min_size=rows * n_items, max_size=rows * n_items)), np.float32)
    scores = scores.reshape(rows, n_items)
    k = data.draw(st.integers(1, n_items + 3))
    shape = data.draw(st.sampled_from([None, (n_items,), (rows, n_items)]))
    allowed = None
    if shape is not None:
        size = int(np.prod(shape))
        allowed = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool).reshape(shape)
    items, best = top_k(scores, k, allowed)
    may = np.broadcast_to(True if allowed is None else allowed, scores.shape)
    for row in range(rows):
        left = [i for i in range(n_items) if may[row, i] and scores[row, i] > -np.inf]
        want = sorted(left, key=lambda i, row=row: (-scores[row, i], i))[:k]
        empty = k - len(want)
        assert items[row].tolist() == [*want, *[-1] * empty]
        assert best[row].tolist() == [*scores[row, want].tolist(), *[-np.inf] * empty]


def test_types_and_an_empty_permission() -> None:
    items, scores = top_k(np.ones((2, 5), np.float32), 3, np.zeros(5, bool))
    assert (items.dtype, scores.dtype) == (np.int32, np.float32)
    assert items.tolist() == [[-1] * 3] * 2
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("k", [1, 100, 20_000])
def test_a_long_row(k: int) -> None:
    scores = np.random.default_rng(1).normal(size=(1, 20_000)).astype(np.float32)
    items, best = top_k(scores, k)
    assert items[0].tolist() == np.argsort(-scores[0], kind="stable")[:k].tolist()
    assert (best[0] == scores[0, items[0]]).all()
