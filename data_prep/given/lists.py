"""Data sets whose test lists are given: training pairs, one item to be found in each list, and its candidates.

Shape legend: E pairs, U users, I items, S lists, N negatives of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.encode.ids import encoded
from data_prep.split import candidates
from data_prep.split.leave_one_out import NOT_ENOUGH
from data_prep.split.matrix import IntArray, Matrix, from_pairs
from data_prep.split.result import HeldOut, Split, generator
from data_prep.split.rules import SplitRules


def factorize(ids: npt.NDArray) -> tuple[npt.NDArray[np.int32], npt.NDArray]:
    """[E] the place of each id among the distinct ones, and these, ascending."""
    codes, table = encoded(ids, (), "user")
    return codes, table.keys


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Rows and columns of some (user, item) pairs."""

    users: IntArray
    items: IntArray


def _held_out(pairs: Pairs, known: Matrix, user_ids: pa.Array, negatives: npt.NDArray[np.int32]) -> HeldOut:
    """One item to be found in each of S lists.

    Args:
        known: [U, I] what is shown of everybody.
        negatives: int32 [S, N].
    """
    count = len(pairs.users)
    return HeldOut(
        fold_in=known.rows(pairs.users),
        fold_out=Matrix(indptr=np.arange(count + 1), indices=pairs.items.astype(np.int32), n_items=known.n_items),
        user_ids=user_ids.take(pa.array(pairs.users)),
        train_rows=pairs.users.astype(np.int32),
        candidates=np.column_stack([pairs.items.astype(np.int32), negatives]),
    )


def _union(*parts: Pairs, shape: tuple[int, int]) -> Matrix:
    """[U, I] every pair of any part, once."""
    keys = np.concatenate([part.users.astype(np.int64) * shape[1] + part.items for part in parts])
    users, items = np.divmod(np.unique(keys), shape[1])
    return from_pairs(users, items, shape)


def assemble(
    train: Pairs,
    valid: Pairs,
    test: Pairs,
    *,
    user_ids: IntArray,
    item_ids: IntArray,
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
        raise ValueError(NOT_ENOUGH)
    matrix = _union(train, shape=shape)
    seen = _union(train, valid, shape=shape)
    everything = _union(train, valid, test, shape=shape)

    def negatives(pairs: Pairs, name: str, known: Matrix) -> npt.NDArray[np.int32]:
        barred = everything if rules.candidates == "clean" else known
        return candidates.draw(
            barred, rules.negatives, kind=rules.candidates, seed=rules.seed, purpose=name, users=pairs.users
        )

    if valid_negatives is None:
        valid_negatives = negatives(valid, "valid", matrix)
    if test_negatives is None:
        test_negatives = negatives(test, "test", seen)
    ids = pa.array(user_ids.astype(np.int64))
    return Split(
        train=matrix,
        train_user_ids=ids,
        valid=_held_out(valid, matrix, ids, valid_negatives),
        test=_held_out(test, seen, ids, test_negatives),
        item_ids=pa.array(item_ids.astype(np.int64)),
        counts={
            **counts,
            "users": shape[0],
            "items": shape[1],
            "train_users": shape[0],
            "train_items": shape[1],
            "train_events": matrix.nnz,
            "held_out_users": len(test.users),
            "validation_users": len(valid.users),
        },
    )


def _order(users: IntArray, items: IntArray, times: npt.NDArray | None, seed: int) -> IntArray:
    """[E] the order by user, then time, then place in the file; without times by user, then chance."""
    if times is not None:
        return np.lexsort((times, users))  # stable
    by_pair = np.lexsort((items, users))  # chance must not depend on the order of the file
    chance = np.empty(len(users))
    chance[by_pair] = generator(seed, "leave-one-out").random(len(users))
    return np.lexsort((chance, users))


def hold_out_validation(users: IntArray, items: IntArray, times: npt.NDArray | None, seed: int) -> tuple[Pairs, Pairs]:
    """Training and validation pairs: of every user with two, the latest one (without times: any) is for validation.

    Args:
        users, items: [E] rows and columns; times: [E] or None.
    """
    order = _order(users, items, times, seed)
    users, items = users[order], items[order]
    last = np.append(users[1:] != users[:-1], True) & (np.bincount(users)[users] >= 2)
    return Pairs(users=users[~last], items=items[~last]), Pairs(users=users[last], items=items[last])
