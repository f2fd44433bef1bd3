"""Made-up histories: realistic lengths, distinct items, the same each time, and nobody's."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recsys_core.dataset import Dataset
from recsys_core.golden_requests import LONGEST, made_up_histories

COUNT = 64


def data_set(lengths: list[int], n_items: int) -> Dataset:
    """Users who have the first items, as many as said."""
    dense = np.zeros((len(lengths), n_items), np.float32)
    for row, length in enumerate(lengths):
        dense[row, :length] = 1
    return Dataset.from_csr(sp.csr_matrix(dense))


def test_lengths_are_those_of_training_users() -> None:
    found = made_up_histories(data_set([0, *[3] * 50, *[40] * 50], 100), COUNT)
    lengths = (found < 100).sum(axis=1)
    assert sorted(lengths.tolist()) == [3] * (COUNT // 2) + [40] * (COUNT // 2)
    assert lengths.tolist() != sorted(lengths.tolist())
    assert found.shape == (COUNT, 40) and found.dtype == np.int32


def test_items_are_distinct_and_padding_comes_last() -> None:
    for row in made_up_histories(data_set([5, 20, 30], 30), COUNT):
        present = row[row < 30]
        assert len(set(present.tolist())) == len(present) and (row[len(present) :] == 30).all()


def test_popular_items_are_drawn_more_often() -> None:
    found = made_up_histories(data_set([10] * 500 + [100], 100), COUNT)
    assert (found < 10).sum() > 0.8 * min(found[found < 100].size, 10 * COUNT)
    assert len(np.unique(found[found < 100])) > 20


def test_the_same_data_gives_the_same_requests() -> None:
    first, again = (made_up_histories(data_set([4, 8, 9], 20), COUNT) for _ in range(2))
    assert np.array_equal(first, again)


def test_no_users_long_users_and_few_items() -> None:
    assert (made_up_histories(data_set([0, 0], 5), COUNT) < 5).sum() == COUNT
    assert made_up_histories(data_set([2000, 2000], 2000), 4).shape == (4, LONGEST)
    assert (made_up_histories(data_set([1], 1), 3) == 0).all()
