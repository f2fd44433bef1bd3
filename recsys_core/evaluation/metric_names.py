"""Names of the metrics, for help texts that must not wait for TensorFlow."""

from __future__ import annotations

OF_LISTS = ("novelty", "tail-share", "ils", "popularity-lift", "popularity-divergence")
"""Metrics of the recommended items of a user, right or wrong (`list_metrics`)."""
OF_SYSTEM = ("coverage", "gini")
"""Metrics of all lists together, without a value of a user."""
METRIC_NAMES = ("ndcg", "recall", "uncapped-recall", "map", "mrr", "precision", "hr", "auc", *OF_LISTS, *OF_SYSTEM)
LOWER_IS_BETTER = ("gini", "ils", "popularity-lift", "popularity-divergence")
"""Metrics whose growth is no improvement."""
