"""Leave-one-out (He et al. 2017, section 4.1): each user's latest item is the test, the one before it the validation.

All users are training users. Equal times are settled by the order of the file (the later row is later); without times
the held-out items are drawn by seed, whatever the order of the file. Held-out items come with sampled negatives.
Shape legend: E events, U users, I items, S users with a held-out item.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data_prep.read.interactions import Ids, Interactions, Times
from data_prep.split import candidates, filters
from data_prep.split.rules import SplitRules
from data_prep.split.users import HeldOut, IntArray, Split, factorize, generator

TRAIN, VALID, TEST = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Events:
    """Distinct (user, item) pairs as rows and columns, a user's in time order."""

    users: npt.NDArray[np.int32]
    """[E] ascending."""
    items: npt.NDArray[np.int32]
    """[E]"""
    user_ids: Ids
    """[U] original ids."""
    item_ids: Ids
    """[I] original ids."""
    dropped: int
    """Repeated pairs that are left out (the earliest positive row of each stays)."""
    notes: list[str]


def _time_order(users: IntArray, items: IntArray, times: Times | None, seed: int) -> IntArray:
    """[E] the order by user, then time, then place in the file; without times by user, then chance."""
    if times is not None:
        return np.lexsort((times, users))  # stable
    by_pair = np.lexsort((items, users))  # chance must not depend on the order of the file
    chance = np.empty(len(users))
    chance[by_pair] = generator(seed, "leave-one-out").random(len(users))
    return np.lexsort((chance, users))


def _without_repeats(users: IntArray, items: IntArray, width: int) -> IntArray:
    """Places of the first event of every pair, ascending."""
    first = np.unique(users.astype(np.int64) * width + items, return_index=True)[1]
    first.sort()
    return first


def ordered(events: Interactions, rules: SplitRules) -> Events:
    """Filter and order events. A repeated pair stands where its earliest positive row is.

    Raises:
        ValueError: nothing is left.
    """
    if not len(events.users):
        raise ValueError(f"no events left of {events.rows_read} rows; lower --threshold or check the rating column")
    users, user_ids = factorize(events.users)
    items, item_ids = factorize(events.items)
    order = _time_order(users, items, events.times, rules.seed)
    users, items = users[order], items[order]
    first = _without_repeats(users, items, len(item_ids))
    dropped = len(users) - len(first)
    users, items = users[first], items[first]
    frequent = len(item_ids)
    if rules.min_item_users > 1:
        is_frequent = np.bincount(items, minlength=len(item_ids)) >= rules.min_item_users
        users, items, frequent = users[is_frequent[items]], items[is_frequent[items]], int(is_frequent.sum())
    enough = (np.bincount(users, minlength=len(user_ids)) >= max(rules.min_user_items, 1))[users]
    if not enough.any():
        raise ValueError(
            f"no user has {rules.min_user_items} items (all {len(user_ids)} users filtered away); "
            f"lower --min-user-items{' or --min-item-users' if rules.min_item_users > 1 else ''}"
        )
    users, kept_users = factorize(users[enough])
    items, kept_items = factorize(items[enough])
    return Events(
        users=users,
        items=items,
        user_ids=user_ids[kept_users],
        item_ids=item_ids[kept_items],
        dropped=dropped,
        notes=filters.of_rules(rules, (len(user_ids), len(kept_users)), (len(item_ids), frequent, len(kept_items))),
    )


def roles(users: IntArray) -> npt.NDArray[np.int8]:
    """[E] TRAIN, VALID or TEST for ordered events: the last of a user's is the test, where another is left to train on;
    the one before it the validation, where again another is left."""
    lengths = np.bincount(users)
    from_end = np.cumsum(lengths)[users] - 1 - np.arange(len(users))
    many = lengths[users]
    return np.select([(from_end == 0) & (many >= 2), (from_end == 1) & (many >= 3)], [TEST, VALID], TRAIN).astype(
        np.int8
    )


def _matrix(users: IntArray, items: IntArray, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(items), np.int8), (users, items)), shape=shape)
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rows and columns of some (user, item) pairs."""

    users: IntArray
    items: IntArray


def _held_out(pairs: Pairs, known: sp.csr_matrix, user_ids: Ids, negatives: npt.NDArray[np.int32]) -> HeldOut:
    """One item to be found in each of S lists.

    Args:
        known: [U, I] what is shown of everybody.
        negatives: int32 [S, N].
    """
    count = len(pairs.users)
    return HeldOut(
        fold_in=known[pairs.users],
        fold_out=_matrix(np.arange(count), pairs.items, (count, known.shape[1])),
        user_ids=user_ids[pairs.users],
        train_rows=pairs.users.astype(np.int32),
        candidates=np.column_stack([pairs.items.astype(np.int32), negatives]),
    )


def assemble(
    train: Pairs,
    valid: Pairs,
    test: Pairs,
    *,
    user_ids: Ids,
    item_ids: Ids,
    rules: SplitRules,
    counts: dict[str, int],
    valid_negatives: npt.NDArray[np.int32] | None = None,
    test_negatives: npt.NDArray[np.int32] | None = None,
) -> Split:
    """The data set from its three parts.

    Args:
        user_ids: [U], item_ids: [I] original ids.
        valid_negatives, test_negatives: [S, N] if they are given (published), else they are drawn.

    Raises:
        ValueError: nothing is held out, or too few items to draw negatives from.
    """
    shape = (len(user_ids), len(item_ids))
    if not len(test.users) or not len(valid.users):
        raise ValueError("no user has three items: one to train on, one for validation, one for the test")
    matrix = _matrix(train.users, train.items, shape)
    seen = matrix + _matrix(valid.users, valid.items, shape)
    seen.data.fill(1)
    everything = seen + _matrix(test.users, test.items, shape)

    def negatives(pairs: Pairs, name: str, known: sp.csr_matrix) -> npt.NDArray[np.int32]:
        barred = (everything if rules.candidates == "clean" else known)[pairs.users]
        return candidates.draw(barred, rules.negatives, kind=rules.candidates, seed=rules.seed, purpose=name)

    if valid_negatives is None:
        valid_negatives = negatives(valid, "valid", matrix)
    if test_negatives is None:
        test_negatives = negatives(test, "test", seen)
    return Split(
        train=matrix,
        train_user_ids=user_ids,
        valid=_held_out(valid, matrix, user_ids, valid_negatives),
        test=_held_out(test, seen, user_ids, test_negatives),
        item_ids=item_ids,
        counts={
            **counts,
            "users": shape[0],
            "items": shape[1],
            "train_users": shape[0],
            "train_items": shape[1],
            "train_events": int(matrix.nnz),
            "held_out_users": len(test.users),
            "validation_users": len(valid.users),
        },
    )


def split(events: Interactions, rules: SplitRules) -> Split:
    """Filter and divide.

    Raises:
        ValueError: nothing is left, or too few items to draw negatives from.
    """
    kept = ordered(events, rules)
    role = roles(kept.users)
    parts = [Pairs(users=kept.users[role == r], items=kept.items[role == r]) for r in (TRAIN, VALID, TEST)]
    counts = {"rows_read": events.rows_read, "duplicates_dropped": kept.dropped, "events": len(kept.users)}
    result = assemble(*parts, user_ids=kept.user_ids, item_ids=kept.item_ids, rules=rules, counts=counts)
    return replace(result, notes=tuple(kept.notes))


def hold_out_validation(users: IntArray, items: IntArray, times: Times | None, seed: int) -> tuple[Pairs, Pairs]:
    """Training and validation pairs: of every user with two, the latest one (without times: any) is for validation.

    Args:
        users, items: [E] rows and columns; times: [E] or None.
    """
    order = _time_order(users, items, times, seed)
    users, items = users[order], items[order]
    last = np.append(users[1:] != users[:-1], True) & (np.bincount(users)[users] >= 2)
    return Pairs(users=users[~last], items=items[~last]), Pairs(users=users[last], items=items[last])
