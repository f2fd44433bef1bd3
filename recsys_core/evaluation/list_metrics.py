"""Metrics of recommended lists themselves, right or wrong: novelty, share of the tail, similarity, popularity.

They are computed on the host from the top items of each user, so that every way of ranking gives the same values. All
are means over the same users as the metrics of what was found: users with nothing to find are left out. A user for
whom a metric has no value (said with each) is left out of its mean.

Popularity p(i) of an item is the share of training users that have it. Ordered by p (of equals the lower index first),
the items that together hold the first 20 % of the training interactions are the head, those of the last 20 % the tail,
the others are in between (Abdollahpouri et al. 2021).

Shape legend: B users of a block, K length of the lists, I items, U training users, N known items of all B users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys_core.matrices import Csr

HEAD_SHARE, TAIL_SHARE = 0.2, 0.2
"""Shares of the training interactions that the most and the least popular items hold."""
GROUPS = 3
"""Head, middle, tail."""
SIMILARITY_BYTES = 1 << 26
"""Memory of the products behind the similarities of some lists."""

Array = npt.NDArray[np.float64]


class Catalogue:
    """The items as training users know them."""

    def __init__(self, train: Csr) -> None:
        self._train = train
        self.counts = train.item_counts().astype(np.float64)
        """[I] training users of each item."""

    @cached_property
    def popularity(self) -> Array:
        """[I] share of the training users that have an item."""
        return self.counts / max(self._train.n_users, 1)

    @cached_property
    def information(self) -> Array:
        """[I] -log2 of the popularity; an item that no training user has counts as if one had it."""
        return np.log2(max(self._train.n_users, 1) / np.maximum(self.counts, 1))

    @cached_property
    def groups(self) -> npt.NDArray[np.int64]:
        """[I] 0 for an item of the head, 1 for one between, 2 for one of the tail."""
        order = np.argsort(-self.counts, kind="stable")
        before = np.cumsum(self.counts[order]) - self.counts[order]  # interactions of the more popular items
        total = max(self.counts.sum(), 1)
        found = np.empty(len(order), np.int64)
        found[order] = np.where(before < HEAD_SHARE * total, 0, np.where(before < (1 - TAIL_SHARE) * total, 1, 2))
        return found

    @cached_property
    def vectors(self) -> sp.csr_matrix:
        """[I, U] each item's users, as a vector of length 1 (zeros for an item without users)."""
        by_item = self._train.to_scipy().astype(np.float64).T.tocsr()
        return sp.diags(1 / np.sqrt(np.maximum(self.counts, 1))) @ by_item


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The recommended items of a block of users, and what these users had before."""

    items: npt.NDArray[np.int64]
    """[B, K] best first, -1 where nothing is left to recommend."""
    known_ids: npt.NDArray[np.int32]
    """[N] known items (fold-in) of all users, one after another."""
    known_splits: npt.NDArray[np.int64]
    """[B + 1] where each user's known items begin."""
    catalogue: Catalogue

    @property
    def shown(self) -> npt.NDArray[np.bool_]:
        """[B, K] whether there is a recommendation."""
        return self.items >= 0

    def mean_over_list(self, of_items: Array) -> Array:
        """[B] mean of a value of items [I] over each list; NaN for an empty list."""
        total = np.where(self.shown, of_items[np.maximum(self.items, 0)], 0.0).sum(axis=1)
        return _ratio(total, self.shown.sum(axis=1))

    def mean_over_known(self, of_items: Array) -> Array:
        """[B] mean of a value of items [I] over each user's known items; NaN where there are none."""
        users = len(self.items)
        rows = np.repeat(np.arange(users), np.diff(self.known_splits))
        total = np.bincount(rows, weights=of_items[self.known_ids], minlength=users)
        return _ratio(total, np.diff(self.known_splits))


def _ratio(total: Array, count: npt.NDArray) -> Array:
    """total / count, NaN where there is nothing to divide by."""
    return np.where(count > 0, total / np.maximum(count, 1e-300), np.nan)


def novelty(lists: Lists) -> Array:
    """[B] mean self-information of the list in bits: mean of -log2 p(i) (Zhou et al. 2010, mean self-information).

    An item without a training user counts as if one had it. No value for an empty list.
    """
    return lists.mean_over_list(lists.catalogue.information)


def tail_share(lists: Lists) -> Array:
    """[B] share of the list outside the most popular items that together hold 80 % of the training interactions.

    The mean over users is the average percentage of long-tail items (APLT) of Abdollahpouri et al. 2019, "Managing
    popularity bias in recommender systems with personalized re-ranking". No value for an empty list.
    """
    return lists.mean_over_list((lists.catalogue.groups == 2).astype(np.float64))


def intra_list_similarity(lists: Lists) -> Array:
    """[B] mean similarity of the pairs of items in the list (Ziegler et al. 2005, here the mean instead of the sum).

    The similarity of two items is the cosine of their columns in the training matrix: users of both / sqrt(users of one
    x users of the other). It is the same for every model, so that models can be compared; vectors of a model's own
    would measure each model with another ruler. No value for a list of fewer than two items.
    """
    vectors, count = lists.catalogue.vectors, lists.shown.sum(axis=1)
    squares = np.zeros(len(lists.items))
    step = max(1, SIMILARITY_BYTES // (16 * max(vectors.shape[1], 1)))
    for start in range(0, len(lists.items), step):
        part = lists.items[start : start + step]
        rows, places = np.nonzero(part >= 0)
        chosen = sp.csr_matrix((np.ones(len(rows)), (rows, part[rows, places])), (len(part), vectors.shape[0]))
        together = chosen @ vectors  # the sum of a list's vectors; its square holds every pair twice
        squares[start : start + step] = np.asarray(together.multiply(together).sum(axis=1)).ravel()
    has_users = lists.mean_over_list((lists.catalogue.counts > 0).astype(np.float64))
    alone = np.where(count > 0, has_users * count, 0)  # an item's product with itself
    pairs = np.maximum(squares - alone, 0.0)  # rounding
    return np.where(count > 1, pairs / np.maximum(count * (count - 1), 1), np.nan)


def popularity_lift(lists: Lists) -> Array:
    """[B] (mean popularity of the list - that of the user's known items) / that of the known items.

    The popularity lift of Abdollahpouri et al. 2020, "The connection between popularity bias, calibration, and fairness
    in recommendation", for a group of one user. 0: as popular as what the user has; 1: twice as popular. No value for
    an empty list, for a user without known items, or where no training user has any of them.
    """
    popularity = lists.catalogue.popularity
    before = lists.mean_over_known(popularity)
    return _ratio(lists.mean_over_list(popularity) - before, before)


def popularity_divergence(lists: Lists) -> Array:
    """[B] Jensen-Shannon divergence in bits, from 0 to 1, of the shares of head, middle and tail in the list and in the
    user's known items.

    User popularity deviation of Abdollahpouri et al. 2021, "User-centered evaluation of popularity bias in recommender
    systems"; a calibration in the sense of Steck 2018. 0: the list has the user's own mixture. No value for an empty
    list or a user without known items.
    """
    total = np.zeros(len(lists.items))
    for group in range(GROUPS):
        member = (lists.catalogue.groups == group).astype(np.float64)
        p, q = lists.mean_over_list(member), lists.mean_over_known(member)
        middle = (p + q) / 2
        total += (_information(p, middle) + _information(q, middle)) / 2
    return np.maximum(total, 0.0)


def _information(share: Array, of: Array) -> Array:
    """share x log2(share / of), 0 for a share of 0; NaN stays."""
    is_some = share > 0
    safe = np.where(is_some, share / np.where(is_some, of, 1.0), 1.0)
    return np.where(np.isnan(share) | np.isnan(of), np.nan, share * np.log2(safe))


LISTS: dict[str, Callable[[Lists], Array]] = {
    "novelty": novelty,
    "tail-share": tail_share,
    "ils": intra_list_similarity,
    "popularity-lift": popularity_lift,
    "popularity-divergence": popularity_divergence,
}


def gini(counts: npt.NDArray) -> float:
    """Gini index of how often each of the I items is recommended: 0 where all are equally often, 1 where one item is
    all recommendations (Shani and Gunawardana 2011):

        1 / (I - 1) x sum over j = 1..I of (2j - I - 1) x share of the j-th least recommended item

    0 where nothing is recommended or there is one item.

    Args:
        counts: [I] recommendations of each item.
    """
    n_items, total = len(counts), counts.sum()
    if n_items < 2 or not total:
        return 0.0
    ranks = np.arange(1, n_items + 1)
    return float(((2 * ranks - n_items - 1) * np.sort(counts)).sum() / ((n_items - 1) * total))
