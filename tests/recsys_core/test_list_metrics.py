"""Metrics of recommended lists: values typed by hand, missing values, and independent formulas on random lists.

Training users and items of the hand-computed cases, counts 4, 2, 2, 1, 1, 0 of 10 interactions:

    user 0: items 0, 1, 2    user 1: items 0, 1    user 2: items 0, 3    user 3: items 0, 2, 4

The first 20 % of the interactions are item 0's, so it is the head. Items 1 and 2 hold those up to 80 %: the middle.
Items 3, 4 and 5 are the tail.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import jensenshannon

from recsys_core.evaluation import list_metrics
from recsys_core.evaluation.list_metrics import LISTS, Catalogue, Lists, gini
from recsys_core.evaluation.metric_names import (
    LOWER_IS_BETTER,
    METRIC_NAMES,
    OF_HITS,
    OF_LISTS,
    OF_SYSTEM,
    parse_metric,
)
from recsys_core.evaluation.metrics import PER_USER
from recsys_core.matrices import csr_from_scipy

TRAIN = [[0, 1, 2], [0, 1], [0, 3], [0, 2, 4]]
HALF = 1 / math.sqrt(2)


def matrix(rows: list[list[int]], n_items: int) -> sp.csr_matrix:
    dense = np.zeros((len(rows), n_items), np.float32)
    for user, items in enumerate(rows):
        dense[user, items] = 1
    return sp.csr_matrix(dense)


def lists(items: list[list[int]], known: list[list[int]], catalogue: Catalogue | None = None) -> Lists:
    splits = np.concatenate([[0], np.cumsum([len(row) for row in known])]).astype(np.int64)
    return Lists(
        items=np.array(items, np.int64),
        known_ids=np.array([item for row in known for item in row], np.int32),
        known_splits=splits,
        catalogue=catalogue or Catalogue(csr_from_scipy(matrix(TRAIN, 6))),
    )


# name, list best first, known items, expected
BY_HAND = [
    ("novelty", [0, 1], [], 0.5),  # -log2(4/4) = 0 and -log2(2/4) = 1
    ("novelty", [3, 5], [], 2.0),  # -log2(1/4) = 2; item 5 has no user and counts as if one had it
    ("novelty", [1, -1], [], 1.0),  # a list that ends early
    ("novelty", [-1, -1], [0], math.nan),
    ("tail-share", [0, 1, 3, 4], [], 0.5),
    ("tail-share", [0, 5, -1, -1], [], 0.5),
    ("tail-share", [-1], [], math.nan),
    ("ils", [0, 1], [], 2 / math.sqrt(4 * 2)),  # two users have both, 4 have item 0, 2 have item 1
    ("ils", [1, 2], [], 0.5),  # one user of both, 2 and 2
    ("ils", [0, 1, 2], [], (HALF + HALF + 0.5) / 3),
    ("ils", [3, 4], [], 0.0),
    ("ils", [0, 5], [], 0.0),  # item 5 has no users
    ("ils", [0, -1], [], math.nan),  # no pair
    ("popularity-lift", [0, 0], [1], 1.0),  # popularity 1 instead of 1/2
    ("popularity-lift", [3, 4], [1, 2], -0.5),
    ("popularity-lift", [1, -1], [0, 3], 0.5 / 0.625 - 1),
    ("popularity-lift", [1, 2], [], math.nan),
    ("popularity-lift", [1, 2], [5], math.nan),  # known items that nobody has: nothing to divide by
    ("popularity-lift", [-1, -1], [1], math.nan),
    ("popularity-divergence", [0, 1], [0, 2], 0.0),  # half head, half middle in both
    ("popularity-divergence", [0, 0], [3, 4], 1.0),  # nothing in common
    ("popularity-divergence", [0, 3], [0], 0.311278),  # 1/2, 0, 1/2 against 1, 0, 0: 1.5 - 0.75 x log2(3)
    ("popularity-divergence", [0, 1], [], math.nan),
    ("popularity-divergence", [-1, -1], [0], math.nan),
]


@pytest.mark.parametrize(("name", "items", "known", "expected"), BY_HAND)
def test_value_by_hand(name: str, items: list[int], known: list[int], expected: float) -> None:
    got = LISTS[name](lists([items], [known]))
    assert got.tolist() == [pytest.approx(expected, abs=1e-6, nan_ok=True)]


def test_groups_by_hand() -> None:
    assert Catalogue(csr_from_scipy(matrix(TRAIN, 6))).groups.tolist() == [0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([3, 3, 3], 0.0),
        ([0, 0, 9], 1.0),
        ([1, 2, 3], 1 / 3),  # (-2 x 1 + 0 x 2 + 2 x 3) / (2 x 6)
        ([3, 1, 2], 1 / 3),
        ([0, 0, 5, 5], 2 / 3),  # ((1 + 3) x 5) / (3 x 10)
        ([0, 0], 0.0),
        ([4], 0.0),
    ],
)
def test_gini_by_hand(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts, np.float64)) == pytest.approx(expected)


def random_lists(seed: int = 0) -> tuple[Lists, npt.NDArray, list[list[int]]]:
    """60 users of 30 items, and what 20 users were shown; some lists end early, some users had nothing."""
    rng = np.random.default_rng(seed)
    dense = rng.random((60, 30)) < np.geomspace(0.8, 0.02, 30)
    dense[0] = True  # every item has a user
    items = np.array([rng.choice(30, 8, replace=False) for _ in range(20)])
    items[3, 2:], items[4] = -1, -1
    known = [rng.choice(30, rng.integers(0, 9), replace=False).tolist() for _ in range(20)]
    known[5] = []
    return (
        lists(items.tolist(), known, Catalogue(csr_from_scipy(sp.csr_matrix(dense.astype(np.float32))))),
        dense,
        known,
    )


def slow(name: str, shown: list[int], known: list[int], dense: npt.NDArray) -> float:
    """The definitions once more, in plain Python and by SciPy."""
    popularity = dense.mean(axis=0)
    if not shown or (name.startswith("popularity") and not known):
        return math.nan
    if name == "novelty":
        return float(np.mean([-math.log2(popularity[i]) for i in shown]))
    if name == "ils":
        cosines = [(dense[:, i] & dense[:, j]).sum() / math.sqrt(dense[:, i].sum() * dense[:, j].sum())
                   for i, j in combinations(shown, 2)]  # fmt: skip
        return float(np.mean(cosines)) if cosines else math.nan
    if name == "popularity-lift":
        before = popularity[known].mean()
        return float((popularity[shown].mean() - before) / before)
    order, total, share, group = sorted(range(dense.shape[1]), key=lambda i: (-popularity[i], i)), dense.sum(), 0, {}
    for item in order:
        group[item] = 0 if share < 0.2 * total else 1 if share < 0.8 * total else 2
        share += dense[:, item].sum()
    if name == "tail-share":
        return float(np.mean([group[i] == 2 for i in shown]))
    p, q = (np.bincount([group[i] for i in some], minlength=3) / len(some) for some in (shown, known))
    return float(jensenshannon(p, q, base=2)) ** 2


@pytest.mark.parametrize("name", OF_LISTS)
def test_against_independent_formulas(name: str) -> None:
    given, dense, known = random_lists()
    shown = [[int(i) for i in row if i >= 0] for row in given.items]
    expected = [slow(name, s, k, dense) for s, k in zip(shown, known, strict=True)]
    assert LISTS[name](given).tolist() == pytest.approx(expected, abs=1e-10, nan_ok=True)


def test_similarities_of_many_lists_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given, _, _ = random_lists()
    at_once = LISTS["ils"](given)
    monkeypatch.setattr(list_metrics, "SIMILARITY_BYTES", 16 * 60 * 3)
    assert np.array_equal(LISTS["ils"](given), at_once, equal_nan=True)


def test_gini_against_its_definition() -> None:
    """Half of the mean difference of all pairs, relative to the mean, with I / (I - 1)."""
    counts = np.random.default_rng(1).integers(0, 20, 50).astype(np.float64)
    pairs = np.abs(counts[:, None] - counts[None, :]).sum() / (50 * 49)
    assert gini(counts) == pytest.approx(pairs / (2 * counts.mean()))


def test_every_name_is_computed_somewhere() -> None:
    assert tuple(PER_USER) == OF_HITS
    assert set(METRIC_NAMES) == {*PER_USER, "auc", *LISTS, *OF_SYSTEM} and set(LOWER_IS_BETTER) < set(METRIC_NAMES)


@pytest.mark.parametrize("text", ["auc@10", "novelty", "ils@1", "gini", "tailshare@5", "auc/first"])
def test_names_with_and_without_a_length(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown metric .*auc without @K, ils with K from 2"):
        parse_metric(text)


@pytest.mark.parametrize("text", ["novelty@5", "gini@5", "ils@5", "coverage@5"])
def test_lists_are_of_the_whole_catalogue(text: str) -> None:
    with pytest.raises(ValueError, match=f"is of the whole catalogue, write {text}/all"):
        parse_metric(text, "sampled")
    assert str(parse_metric(f"{text}/all", "sampled")) == f"{text}/all"


def test_the_text_of_a_metric_without_a_length() -> None:
    assert [str(parse_metric(text)) for text in ("auc", "auc/all", "AUC/sampled")] == ["auc", "auc/all", "auc/sampled"]
