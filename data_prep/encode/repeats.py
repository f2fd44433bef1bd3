"""Repeated pairs: the latest rating of a (user, item) pair decides whether the pair is positive.

The rows below the threshold are not kept with their times, so a source is read twice where it has pairs with rows above
and below (`data_prep.read.reading`), and once elsewhere. Here lives what finds such pairs and what settles them.
Shape legend: E positive events, D rows at or below the threshold, C rows of pairs with both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from data_prep.read.interactions import Hashes, Ids, Interactions, is_among, pair_hashes

FLAGS = 1 << 26
"""Most entries of the table of flags (64 MiB)."""
WINDOW = (1 << 14) - 1
"""The items of a user are looked up in a window of the table that fits the processor's first cache."""
STEP = 1 << 17
_FACTORS = ((512, 0x9E3779B1), (769, 0x85EBCA77), (1031, 0xC2B2AE3D))
Pairs = tuple[Ids, Ids]


def _places(users: Ids, items: Ids, stage: int, flags: int) -> npt.NDArray[np.int64]:
    """[E] the entry of the table of flags of each pair; another one in each stage."""
    by_user, by_item = _FACTORS[stage]
    place = users.astype(np.int64) * by_user
    place += ((items.astype(np.int64) * by_item) >> 17) & WINDOW
    place &= flags - 1
    return place


def _steps(pairs: Pairs) -> Iterator[Pairs]:
    for start in range(0, len(pairs[0]), STEP):
        yield pairs[0][start : start + STEP], pairs[1][start : start + STEP]


def _that_may_be_in(pairs: Pairs, others: Pairs, stage: int) -> Pairs:
    """The pairs that may be among the others: all that are, and a few that are not."""
    flags = 1 << min(max(len(others[0]) * 8, 1 << 16).bit_length(), FLAGS.bit_length() - 1)
    is_there = np.zeros(flags, bool)
    for users, items in _steps(others):
        is_there[_places(users, items, stage, flags)] = True
    found = []
    for users, items in _steps(pairs):
        rows = np.flatnonzero(is_there.take(_places(users, items, stage, flags)))
        found.append((users[rows], items[rows]))
    empty = pairs[0][:0]
    return np.concatenate([u for u, _ in found] or [empty]), np.concatenate([i for _, i in found] or [empty])


def find(events: Interactions) -> Hashes:
    """Ascending hashes of the pairs that have a positive row and one at or below the threshold.

    Three passes over a table of flags leave few pairs to be sorted: 20 million rows without such pairs take 0.4 s.
    """
    if events.low_users is None or events.low_items is None:
        return np.empty(0, np.uint64)
    high, low = (events.users, events.items), (events.low_users, events.low_items)
    high = _that_may_be_in(high, low, 0)
    low = _that_may_be_in(low, high, 1)
    high = _that_may_be_in(high, low, 2)
    return np.intersect1d(pair_hashes(*high), pair_hashes(*low))


@dataclass(frozen=True, kw_only=True)
class Settled:
    """Positive events of pairs whose latest rating is above the threshold."""

    events: Interactions
    overridden: int = 0
    """Rows that a later row of their pair overrides, besides repeated positive rows that are still in `events`."""
    rated_down: int = 0
    """Pairs that are left out: they were above the threshold once, and their latest rating is not."""


def settle(events: Interactions, rows: Interactions) -> Settled:
    """Leave out the pairs whose latest rating is not above the threshold.

    The latest row is the one with the largest time, of equal times the later row of the file; without times the latest
    is the last of the file.

    Args:
        rows: every row of the pairs that `find` found (and perhaps of others), with `positive` [C].
    """
    assert rows.positive is not None
    order = np.lexsort((*(() if rows.times is None else (rows.times,)), rows.items, rows.users))  # stable
    users, items, positive = rows.users[order], rows.items[order], rows.positive[order]
    ends = np.append((users[1:] != users[:-1]) | (items[1:] != items[:-1]), True)
    pair = np.cumsum(ends) - ends
    lengths, highs = np.bincount(pair), np.bincount(pair, weights=positive).astype(np.int64)
    mixed = (highs > 0) & (highs < lengths)
    stays = positive[ends]
    down = mixed & ~stays
    left_out = _is_one_of(events.users, events.items, users[ends][down], items[ends][down])
    return Settled(
        events=replace(
            events,
            users=events.users[~left_out],
            items=events.items[~left_out],
            times=None if events.times is None else events.times[~left_out],
        ),
        overridden=int((lengths - highs)[mixed & stays].sum() + (lengths - 1)[down].sum()),
        rated_down=int(down.sum()),
    )


def _is_one_of(users: Ids, items: Ids, of_users: Ids, of_items: Ids) -> npt.NDArray[np.bool_]:
    """[E] whether each pair is one of the others, which are distinct."""
    hashes = pair_hashes(of_users, of_items)
    order = np.argsort(hashes)
    hashes = hashes[order]
    mine = pair_hashes(users, items)
    found = is_among(mine, hashes)
    place = order[np.searchsorted(hashes, mine[found])]
    found[found] = (of_users[place] == users[found]) & (of_items[place] == items[found])
    return found
