"""Ranking metrics of one user's top-k list, computed for a block of users at once, in the graph.

`hits` [B, K] says which of the K recommended items, best first, were relevant; `relevant` [B] how many were there to
be found. A user with nothing relevant has no defined value and is left out of every mean by the evaluator.

Every value is float64: sums over 100,000 users must not depend on who added them up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf


def _discounts(k: int) -> tf.Tensor:
    """[K] 1 / log2(rank + 1), rank from 1."""
    return tf.math.log(tf.constant(2.0, tf.float64)) / tf.math.log(tf.range(2, k + 2, dtype=tf.float64))


def recall(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] found / min(K, relevant) (Liang et al. 2018, section 4.2). A perfect list has 1 at any K."""
    return tf.reduce_sum(hits, axis=1) / tf.minimum(relevant, tf.cast(hits.shape[1], tf.float64))


def uncapped_recall(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] found / relevant: the recall of LightGCN (He et al. 2020) and NGCF (Wang et al. 2019).

    A perfect list is below 1 for a user with more than K relevant items. 0 for a user with nothing relevant, whom the
    evaluator leaves out of the mean, as these papers do.
    """
    return tf.reduce_sum(hits, axis=1) / relevant


def ndcg(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] DCG / ideal DCG with binary gains, both truncated at K (Järvelin and Kekäläinen 2002).

    LightGCN's code has the same ideal, over min(K, relevant) places. NGCF's code has another one, over the relevant
    items that were found, so that its values are higher.
    """
    discounts = _discounts(hits.shape[1])
    ideal = tf.concat([[0.0], tf.cumsum(discounts)], axis=0)
    best = tf.gather(ideal, tf.cast(tf.minimum(relevant, tf.cast(hits.shape[1], tf.float64)), tf.int32))
    return tf.reduce_sum(hits * discounts, axis=1) / best


def average_precision(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] AveP@K: the sum of precision at each hit / min(K, relevant). A perfect list has 1 at any K.

    NVIDIA's case study divides by K instead, so that a perfect list of few relevant items is below 1 there.
    """
    ranks = tf.range(1, hits.shape[1] + 1, dtype=tf.float64)
    total = tf.reduce_sum(tf.cumsum(hits, axis=1) / ranks * hits, axis=1)
    return total / tf.minimum(relevant, tf.cast(hits.shape[1], tf.float64))


def precision(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] found / K."""
    del relevant
    return tf.reduce_mean(hits, axis=1)


def hit_rate(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] 1 if anything was found."""
    del relevant
    return tf.reduce_max(hits, axis=1)


PER_USER: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "ndcg": ndcg,
    "recall": recall,
    "uncapped-recall": uncapped_recall,
    "map": average_precision,
    "precision": precision,
    "hr": hit_rate,
}
COVERAGE = "coverage"
"""Share of all items that appear in somebody's list: a metric of the system, not of a user."""
KNOWN = (*PER_USER, COVERAGE)


ALL, SAMPLED = "all", "sampled"
PROTOCOLS = (ALL, SAMPLED)
"""Among what is ranked: the whole catalogue less known items, or the item to be found and sampled negatives.

Sampled metrics flatter, and can order models otherwise (Krichene and Rendle 2020)."""


@dataclass(frozen=True)
class Metric:
    """One metric at one cut-off under one protocol, written ``ndcg@100``, ``hr@10/all`` or ``hr@10/sampled``."""

    name: str
    k: int
    protocol: str = ""
    """all, sampled, or "" for "all" left unsaid."""

    @property
    def is_sampled(self) -> bool:
        return self.protocol == SAMPLED

    def __str__(self) -> str:
        return f"{self.name}@{self.k}{'/' if self.protocol else ''}{self.protocol}"


def parse_metric(text: str, protocol: str = "") -> Metric:
    """Read ``name@k`` or ``name@k/protocol``.

    Args:
        protocol: what a metric without one means.

    Raises:
        ValueError: another form, an unknown name or protocol (the known ones are listed), or k below 1.
    """
    match = re.fullmatch(r"\s*([a-z]+(?:-[a-z]+)*)@(\d+)(?:/([a-z]+))?\s*", text.lower())
    if not match or match[1] not in KNOWN or int(match[2]) < 1 or (match[3] or ALL) not in PROTOCOLS:
        raise ValueError(
            f"unknown metric {text!r}, expected NAME@K or NAME@K/PROTOCOL with K from 1, NAME one of: "
            f"{', '.join(KNOWN)}, and PROTOCOL one of: {', '.join(PROTOCOLS)}"
        )
    metric = Metric(match[1], int(match[2]), match[3] or protocol)
    if metric.is_sampled and metric.name == COVERAGE:
        raise ValueError(f"unknown metric {text!r}: coverage is of the whole catalogue, write coverage@{metric.k}/all")
    return metric


def values(metrics: Sequence[Metric], hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B, M] float64, a column for each per-user metric.

    Args:
        hits: bool [B, K], K at least every metric's k.
        relevant: int64 [B].
    """
    found, wanted = tf.cast(hits, tf.float64), tf.maximum(tf.cast(relevant, tf.float64), 1.0)  # 0 / 1, not 0 / 0
    return tf.stack([PER_USER[m.name](found[:, : m.k], wanted) for m in metrics], axis=1)


def hits_among_candidates(scores: tf.Tensor, present: tf.Tensor, depth: int) -> tf.Tensor:
    """[B, depth] bool: at which rank the item to be found stands. It loses every tie.

    Args:
        scores: [B, C] of the item to be found, then of the others.
        present: [B, C] bool, False for those that do not count.
    """
    others = present[:, 1:] & (scores[:, 1:] >= scores[:, :1])
    return tf.equal(tf.reduce_sum(tf.cast(others, tf.int32), axis=1)[:, None], tf.range(depth)[None, :])
