"""Ranking metrics: values typed by hand, then an independent formula on random lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_core.evaluation.metric_names import Metric, parse_metric
from recsys_core.evaluation.metrics import PER_USER, values

LOG2_3 = 0.6309297535714575  # 1 / log2(3)

# name, hits best first, relevant, expected
BY_HAND = [
    ("recall@3", [1, 0, 1], 2, 1.0),
    ("recall@3", [1, 0, 0], 2, 0.5),
    ("recall@3", [1, 1, 1], 10, 1.0),  # a full list is perfect: min(K, relevant)
    ("recall@1", [0, 1, 1], 2, 0.0),
    ("uncapped-recall@3", [1, 0, 1], 2, 1.0),
    ("uncapped-recall@3", [1, 0, 0], 2, 0.5),
    ("uncapped-recall@3", [1, 1, 1], 10, 0.3),  # a full list is not perfect: divided by all relevant items
    ("uncapped-recall@1", [0, 1, 1], 2, 0.0),
    ("uncapped-recall@2", [0, 0, 0], 0, 0.0),  # nothing relevant: no number that spoils a sum
    ("precision@3", [1, 0, 1], 2, 2 / 3),
    ("precision@3", [0, 0, 0], 2, 0.0),
    ("hr@3", [0, 0, 1], 5, 1.0),
    ("hr@2", [0, 0, 1], 5, 0.0),
    ("ndcg@3", [1, 1, 0], 2, 1.0),
    ("ndcg@3", [0, 1, 0], 1, LOG2_3),
    ("ndcg@3", [1, 0, 1], 2, 1.5 / (1 + LOG2_3)),
    ("ndcg@1", [0, 1, 1], 2, 0.0),
    ("ndcg@3", [1, 0, 0], 7, 1 / (1 + LOG2_3 + 0.5)),  # the ideal list is truncated at K
    ("mrr@3", [0, 1, 1], 2, 0.5),  # the first hit counts
    ("mrr@3", [1, 0, 0], 7, 1.0),
    ("mrr@2", [0, 0, 1], 1, 0.0),  # found beyond K
    ("map@3", [1, 0, 1], 2, (1 + 2 / 3) / 2),
    ("map@3", [0, 1, 0], 1, 0.5),
    ("map@2", [1, 1, 1], 3, 1.0),
    ("map@10", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0], 2, 1.0),  # a perfect short list
]


@pytest.mark.parametrize(("name", "hits", "relevant", "expected"), BY_HAND)
def test_value_by_hand(name: str, hits: list[int], relevant: int, expected: float) -> None:
    got = values([parse_metric(name)], tf.constant([hits]) > 0, tf.constant([relevant], tf.int64))
    assert got.numpy()[0, 0] == pytest.approx(expected, abs=1e-12)


def naive(name: str, hits: list[bool], relevant: int) -> float:
    """The definitions once more, in plain Python."""
    k = len(hits)
    places = [rank for rank, hit in enumerate(hits, start=1) if hit]
    if name == "ndcg":
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, relevant) + 1))
        return sum(1 / math.log2(rank + 1) for rank in places) / ideal
    if name == "map":
        return sum((n + 1) / rank for n, rank in enumerate(places)) / min(k, relevant)
    recall = {"recall": len(places) / min(k, relevant), "uncapped-recall": len(places) / relevant}
    first = 1 / places[0] if places else 0.0
    return {**recall, "mrr": first, "precision": len(places) / k, "hr": float(bool(places))}[name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 20))
def test_against_plain_python(hits: list[bool], more: int) -> None:
    relevant = max(sum(hits) + more, 1)
    for name in PER_USER:
        got = values([Metric(name, len(hits))], tf.constant([hits]), tf.constant([relevant], tf.int64)).numpy()[0, 0]
        assert got == pytest.approx(naive(name, hits, relevant), abs=1e-12)
        assert 0 <= got <= 1 + 1e-12


def test_a_better_place_never_lowers_a_metric() -> None:
    lists = np.eye(6, dtype=bool)  # one hit, at each place
    for name in PER_USER:
        column = values([Metric(name, 6)], tf.constant(lists), tf.ones([6], tf.int64)).numpy()[:, 0]
        assert (np.diff(column) <= 0).all()


@pytest.mark.parametrize("text", ["ndcg", "ndcg@0", "ndcg@-1", "auc@5", "@5", "ndcg@5.5", "uncapped@5", "-recall@5"])
def test_unknown_metrics_list_the_known(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown metric .*: ndcg, recall, uncapped-recall, map, .*, coverage"):
        parse_metric(text)
