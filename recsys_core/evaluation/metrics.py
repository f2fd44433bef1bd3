"""The ranking metrics of one user's top-k list, for a block of users at once, in the graph.

`hits` [B, K] says which of the K recommended items, best first, were relevant; `relevant` [B] how many were there to
be found. A user with nothing relevant has no defined value and is left out of every mean by the evaluator.

Every value is float64: sums over 100,000 users must not depend on who added them up. The area under the curve is in
`evaluation.auc`; metrics of the lists themselves (novelty, tail, popularity) are in `evaluation.list_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from recsys_core.evaluation.metric_names import AUC, Metric


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


def reciprocal_rank(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] 1 / rank of the first hit, 0 without one: its mean is MRR@K (Voorhees 1999, truncated at K)."""
    del relevant
    ranks = tf.range(1, hits.shape[1] + 1, dtype=tf.float64)
    return tf.reduce_max(hits / ranks, axis=1)


def hit_rate(hits: tf.Tensor, relevant: tf.Tensor) -> tf.Tensor:
    """[B] 1 if anything was found."""
    del relevant
    return tf.reduce_max(hits, axis=1)


PER_USER: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "ndcg": ndcg,
    "recall": recall,
    "uncapped-recall": uncapped_recall,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "precision": precision,
    "hr": hit_rate,
}
"""Metrics of what was found in a list."""


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


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The metrics of an evaluation by how they are computed, in the order of the columns of its table."""

    sampled_hits: tuple[Metric, ...]
    sampled_auc: tuple[Metric, ...]
    hits: tuple[Metric, ...]
    auc: tuple[Metric, ...]
    lists: tuple[Metric, ...]
    system: tuple[Metric, ...]
    """They have no column."""

    @classmethod
    def of(cls, metrics: Sequence[Metric]) -> Columns:
        """Sort metrics."""

        def some(chosen: Callable[[Metric], bool]) -> tuple[Metric, ...]:
            return tuple(m for m in metrics if chosen(m))

        return cls(
            sampled_hits=some(lambda m: m.is_sampled and m.is_of_hits),
            sampled_auc=some(lambda m: m.is_sampled and m.name == AUC),
            hits=some(lambda m: not m.is_sampled and m.is_of_hits),
            auc=some(lambda m: not m.is_sampled and m.name == AUC),
            lists=some(lambda m: m.is_of_list),
            system=some(lambda m: m.is_of_system),
        )

    @property
    def sampled(self) -> tuple[Metric, ...]:
        return (*self.sampled_hits, *self.sampled_auc)

    @property
    def in_graph(self) -> tuple[Metric, ...]:
        """Those that the graph computes."""
        return (*self.sampled, *self.hits, *self.auc)

    @property
    def per_user(self) -> tuple[Metric, ...]:
        return (*self.in_graph, *self.lists)

    @property
    def depth(self) -> int:
        """Length of the longest list; 0 where no metric takes one."""
        return max((m.k for m in (*self.hits, *self.lists, *self.system)), default=0)

    @property
    def list_depth(self) -> int:
        """Length of the longest list that is needed on the host; 0 for none."""
        return max((m.k for m in self.lists), default=0)

    @property
    def ranks_all(self) -> bool:
        """Whether any metric is of the whole catalogue."""
        return bool(self.depth or self.auc)
