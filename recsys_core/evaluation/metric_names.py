"""The names of the metrics, and metrics as they are written: ``ndcg@100``, ``hr@10/all``.

Nothing here imports TensorFlow, so that help texts need not wait for it and a wrong name is answered at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

OF_HITS = ("ndcg", "recall", "uncapped-recall", "map", "mrr", "precision", "hr")
"""Metrics of what was found in a list (`metrics.PER_USER`)."""
AUC = "auc"
"""Area under the ROC curve of one user, over the whole ranking: written without @K."""
COVERAGE = "coverage"
"""Share of all items that appear in somebody's list."""
GINI = "gini"
"""Inequality of how often each item is recommended."""

OF_LISTS = ("novelty", "tail-share", "ils", "popularity-lift", "popularity-divergence")
"""Metrics of the recommended items of a user, right or wrong (`list_metrics`)."""
OF_SYSTEM = (COVERAGE, GINI)
"""Metrics of all lists together, without a value of a user."""
METRIC_NAMES = (*OF_HITS, AUC, *OF_LISTS, *OF_SYSTEM)
LOWER_IS_BETTER = ("gini", "ils", "popularity-lift", "popularity-divergence")
"""Metrics whose growth is no improvement."""

ALL, SAMPLED = "all", "sampled"
PROTOCOLS = (ALL, SAMPLED)
"""Among what is ranked: the whole catalogue less known items, or the item to be found and sampled negatives.

Sampled metrics flatter, and can order models otherwise (Krichene and Rendle 2020)."""


@dataclass(frozen=True)
class Metric:
    """One metric at one cut-off under one protocol, as ``ndcg@100``, ``hr@10/all``, ``hr@10/sampled`` or ``auc``."""

    name: str
    k: int
    """Length of the list; 0 for a metric of the whole ranking."""
    protocol: str = ""
    """all, sampled, or "" for "all" left unsaid."""

    @property
    def is_sampled(self) -> bool:
        return self.protocol == SAMPLED

    @property
    def is_of_hits(self) -> bool:
        """Whether it is computed from what was found in a list."""
        return self.name in OF_HITS

    @property
    def is_of_list(self) -> bool:
        """Whether it is computed from the recommended items of a user, right or wrong."""
        return self.name in OF_LISTS

    @property
    def is_of_system(self) -> bool:
        """Whether it is one value of all users together."""
        return self.name in OF_SYSTEM

    @property
    def lowest(self) -> float:
        """The least value that it can have."""
        return -1.0 if self.name == "popularity-lift" else 0.0

    def under(self, protocol: str) -> Metric:
        """The same metric under another protocol."""
        return replace(self, protocol=protocol)

    def __str__(self) -> str:
        cut = f"@{self.k}" if self.k else ""
        return f"{self.name}{cut}{'/' if self.protocol else ''}{self.protocol}"


def parse_metric(text: str, protocol: str = "") -> Metric:
    """Read ``name@k`` or ``name@k/protocol``; ``auc`` has no k.

    Args:
        protocol: what a metric without one means.

    Raises:
        ValueError: another form, an unknown name or protocol (the known ones are listed), or k out of range.
    """
    match = re.fullmatch(r"\s*([a-z]+(?:-[a-z]+)*)(?:@(\d+))?(?:/([a-z]+))?\s*", text.lower())
    is_known = match is not None and match[1] in METRIC_NAMES and (match[3] or ALL) in PROTOCOLS
    if match is None or not is_known or not _is_cut_off(match[1], match[2]):
        raise ValueError(
            f"unknown metric {text!r}, expected NAME@K or NAME@K/PROTOCOL with K from 1, "
            f"NAME one of: {', '.join(METRIC_NAMES)} (auc without @K, ils with K from 2), "
            f"and PROTOCOL one of: {', '.join(PROTOCOLS)}"
        )
    metric = Metric(match[1], int(match[2] or 0), match[3] or protocol)
    if metric.is_sampled and (metric.is_of_list or metric.is_of_system):
        raise ValueError(f"unknown metric {text!r}: {metric.name} is of the whole catalogue, write {metric.under(ALL)}")
    return metric


def _is_cut_off(name: str, k: str | None) -> bool:
    """Whether the metric takes lists of this length; None for no length."""
    if name == AUC or k is None:
        return name == AUC and k is None
    return int(k) >= (2 if name == "ils" else 1)  # a list of one item has no pair
