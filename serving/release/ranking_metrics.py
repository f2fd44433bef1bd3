"""The metrics by which versions are compared: those of a list of recommended items, as in `recsys_core.evaluation`.

They need no TensorFlow. Shape legend: S users, K recommended items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from recsys_core.evaluation.metric_names import Metric, parse_metric

Hits = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]


def _ndcg(hits: Hits, relevant: Array) -> Array:
    """DCG / ideal DCG, over min(K, relevant) places (Liang et al. 2018)."""
    discounts = 1.0 / np.log2(np.arange(hits.shape[1]) + 2.0)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])
    return (hits * discounts).sum(axis=1) / ideal[np.minimum(relevant, hits.shape[1]).astype(int)]


def _recall(hits: Hits, relevant: Array) -> Array:
    return hits.sum(axis=1) / np.minimum(relevant, hits.shape[1])


def _average_precision(hits: Hits, relevant: Array) -> Array:
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.minimum(relevant, hits.shape[1])


METRICS: dict[str, Callable[[Hits, Array], Array]] = {
    "ndcg": _ndcg,
    "recall": _recall,
    "uncapped-recall": lambda hits, relevant: hits.sum(axis=1) / relevant,
    "map": _average_precision,
    "mrr": lambda hits, relevant: (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1),
    "precision": lambda hits, relevant: hits.mean(axis=1),
    "hr": lambda hits, relevant: hits.any(axis=1).astype(np.float64),
}
"""Name -> values [S] from hits [S, K], best first, and the numbers [S] of relevant items, all above 0."""


def choose(given: str | None, measured: Sequence[str]) -> Metric:
    """The metric to compare by.

    Args:
        given: --metric; None for the first of `measured` that can be compared.
        measured: names of the candidate's test metrics, as "ndcg@100" or "hr@10/sampled".

    Raises:
        ValueError: the metric is not known, or is not one of a list of recommended items.
    """
    known = f"known are, at any K: {', '.join(METRICS)}"
    if given is not None:
        metric = parse_metric(given)
        if metric.is_sampled:
            raise ValueError(
                f"--metric {given}: versions are compared over the whole catalogue; write {metric.under('')}"
            )
        if metric.name not in METRICS:
            raise ValueError(f"--metric {given} cannot be compared user by user from lists of items; {known}")
        return metric
    for name in measured:
        try:
            metric = parse_metric(name)
        except ValueError:  # a metric of a program that this one does not know
            continue
        if metric.name in METRICS:
            return metric.under("")
    raise ValueError(f"the run measured none of the metrics that can be compared; give --metric ({known})")


def values(metric: Metric, hits: Hits, relevant: npt.NDArray[np.integer]) -> Array:
    """[S] the metric of each user; NaN for a user with nothing relevant.

    Args:
        hits: [S, K] whether each recommended item, best first, is relevant; K at least the metric's.
        relevant: [S] number of relevant items.
    """
    found = np.full(len(hits), np.nan)
    measured = relevant > 0
    if measured.any():
        wanted = relevant[measured].astype(np.float64)
        found[measured] = METRICS[metric.name](hits[measured, : metric.k], wanted)
    return found
