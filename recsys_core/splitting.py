"""Splitting a data set in memory, by the rules and the random streams of `python -m data_prep`.

The same interactions give the same split here and there (but for leave-one-out without times, where pairs repeat).
Shape legend: U users, I items, E interactions, S held-out
rows, N negatives of each.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys_core.errors import UserError
from recsys_core.interactions import Interactions
from recsys_core.matrices import HeldOut, Parts, csr_from_scipy, item_table, user_table
from recsys_core.seeding import generator

SEED = 98765
MIN_ITEMS_TO_SPLIT = 5
BLOCK_CELLS = 1 << 26
"""Users x items whose known pairs are looked up in one table of flags (64 MiB)."""


def split(data: Interactions, protocol: str, rules: Mapping[str, Any]) -> Parts:
    """See `Dataset.split`."""
    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}, known are: {', '.join(PROTOCOLS)}")
    known = list(inspect.signature(PROTOCOLS[protocol]).parameters)[1:]
    for name in rules:
        if name not in known:
            raise UserError(f"unknown rule {name!r} of split({protocol!r}), known are: {', '.join(known)}")
    return PROTOCOLS[protocol](data, **rules)


def _enough_items(matrix: sp.csr_matrix, min_user_items: int) -> npt.NDArray[np.int64]:
    """Rows of the users with enough items."""
    kept = np.flatnonzero(np.diff(matrix.indptr) >= max(min_user_items, 1))
    if not len(kept):
        raise UserError(f"no user has {min_user_items} items; lower min_user_items")
    return kept


def _fold_out(matrix: sp.csr_matrix, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """[E] True for items to be found: int(share * n) of each user's n, drawn without replacement."""
    lengths = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((rng.random(matrix.nnz), rows))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    count = np.where(lengths >= MIN_ITEMS_TO_SPLIT, (share * lengths).astype(np.int64), 0)
    chosen = np.zeros(matrix.nnz, bool)
    chosen[order] = place < np.repeat(count, lengths)
    return chosen


def _entries(matrix: sp.csr_matrix, chosen: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """A matrix of the same shape with some of the entries."""
    before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
    return sp.csr_matrix((matrix.data[chosen], matrix.indices[chosen], before[matrix.indptr]), shape=matrix.shape)


def split_users(
    data: Interactions, held_out: float = 0.1, fold_out: float = 0.2, seed: int = SEED, min_user_items: int = 5
) -> Parts:
    """Users held out (strong generalisation; Liang et al. 2018, section 4.1).

    Args:
        held_out: users for validation, and as many for the test: a share below 1, else a number.
        fold_out: share of a held-out user's items that is to be found.
        min_user_items: users with fewer items are left out.

    Raises:
        UserError: too few users.
    """
    if not 0 < fold_out < 1 or held_out <= 0:
        raise UserError(
            f"held_out is {held_out} and fold_out {fold_out}, expected a share or a number of users above 0, and a "
            "share between 0 and 1"
        )
    matrix = data.train.to_scipy()
    kept = _enough_items(matrix, min_user_items)
    count = int(held_out) if held_out >= 1 else max(1, int(held_out * len(kept)))
    if count < 1 or len(kept) - 2 * count < 1:
        raise UserError(
            f"cannot hold out {count} users for validation and {count} for the test: {len(kept)} users have at least "
            f"{min_user_items} items"
        )
    order = generator(seed, "users").permutation(len(kept))
    trained, valid, test = (np.sort(kept[part]) for part in np.split(order, [len(kept) - 2 * count, len(kept) - count]))
    columns = np.flatnonzero(np.bincount(matrix[trained].indices, minlength=data.train.n_items))
    user_ids, item_ids = data.users["user_id"].to_numpy(), data.items["item_id"].to_numpy()

    def held(rows: npt.NDArray[np.int64], name: str) -> HeldOut:
        own = matrix[rows][:, columns].tocsr()
        own.sort_indices()
        chosen = _fold_out(own, fold_out, generator(seed, f"fold-out/{name}"))
        return HeldOut(fold_in=csr_from_scipy(_entries(own, ~chosen)), fold_out=csr_from_scipy(_entries(own, chosen)))

    train = csr_from_scipy(matrix[trained][:, columns])
    titles = data.items["title"].to_numpy()[columns]
    ids = {name: user_ids[rows] for name, rows in (("train", trained), ("valid", valid), ("test", test))}
    return Parts(
        train=train,
        valid=held(valid, "valid"),
        test=held(test, "test"),
        item_frame=item_table(item_ids[columns], titles, train),
        user_frame=user_table(ids),
    )


def split_leave_one_out(data: Interactions, negatives: int = 99, seed: int = SEED, min_user_items: int = 5) -> Parts:
    """Each user's latest item is for the test, the one before it for validation (He et al. 2017, section 4.1).

    Without times the two are drawn by `seed`. Each held-out item has sampled negatives.

    Args:
        negatives: items without an interaction in each list of candidates.
        min_user_items: users with fewer items are left out.

    Raises:
        UserError: nobody has three items, or too few items are left to draw negatives from.
    """
    matrix = data.train.to_scipy()
    kept = _enough_items(matrix, min_user_items)
    users = np.repeat(np.arange(data.train.n_users), np.diff(matrix.indptr))
    is_kept = np.isin(users, kept)
    place = data.order if data.order is not None else generator(seed, "leave-one-out").random(len(users))
    order = np.lexsort((np.asarray(place)[is_kept], users[is_kept]))
    rows = np.searchsorted(kept, users[is_kept][order])
    columns, items = np.unique(matrix.indices[is_kept][order], return_inverse=True)
    lengths = np.bincount(rows)
    from_end = np.cumsum(lengths)[rows] - 1 - np.arange(len(rows))
    is_test, is_valid = (from_end == 0) & (lengths[rows] >= 2), (from_end == 1) & (lengths[rows] >= 3)
    if not is_valid.any():
        raise UserError("no user has three items: one to train on, one for validation, one for the test")
    shape = (len(kept), len(columns))

    def part(chosen: npt.NDArray[np.bool_]) -> sp.csr_matrix:
        return sp.csr_matrix((np.ones(int(chosen.sum()), np.float32), (rows[chosen], items[chosen])), shape)

    train, seen, everything = part(~is_test & ~is_valid), part(~is_test), part(np.ones(len(rows), bool))

    def held(chosen: npt.NDArray[np.bool_], known: sp.csr_matrix, name: str) -> HeldOut:
        own, found = rows[chosen], items[chosen].astype(np.int32)
        lists = _draw_negatives(everything[own], negatives, seed, name)
        wanted = sp.csr_matrix((np.ones(len(own), np.float32), (np.arange(len(own)), found)), (len(own), shape[1]))
        return HeldOut(
            fold_in=csr_from_scipy(known[own]),
            fold_out=csr_from_scipy(wanted),
            train_rows=own.astype(np.int32),
            candidates=np.column_stack([found, lists]),
        )

    trained = csr_from_scipy(train)
    return Parts(
        train=trained,
        valid=held(is_valid, train, "valid"),
        test=held(is_test, seen, "test"),
        item_frame=item_table(
            data.items["item_id"].to_numpy()[columns], data.items["title"].to_numpy()[columns], trained
        ),
        user_frame=user_table({"train": data.users["user_id"].to_numpy()[kept]}),
    )


def _repeats(drawn: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """[S, N] True where an entry stands earlier in its row already."""
    order = np.argsort(drawn, axis=1, kind="stable")
    ascending = np.take_along_axis(drawn, order, axis=1)
    repeated = np.zeros(drawn.shape, bool)
    np.put_along_axis(repeated, order[:, 1:], ascending[:, 1:] == ascending[:, :-1], axis=1)
    return repeated


def _draw_negatives(known: sp.csr_matrix, count: int, seed: int, purpose: str) -> npt.NDArray[np.int32]:
    """[S, N] distinct items that are not among the known ones [S, I] of each row."""
    free = known.shape[1] - np.diff(known.indptr)
    if free.min() < count:
        raise UserError(
            f"negatives is {count}, but a user has only {free.min()} of {known.shape[1]} items left to draw from"
        )
    drawn = np.empty((known.shape[0], count), np.int32)
    step = max(1, BLOCK_CELLS // max(1, known.shape[1]))
    for block, start in enumerate(range(0, known.shape[0], step)):
        rng = generator(seed, f"negatives/{purpose}/{block}")
        drawn[start : start + step] = _draw_block(known[start : start + step].toarray() > 0, count, rng)
    return drawn


def _draw_block(known: npt.NDArray[np.bool_], count: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """[S, N] distinct items, False in `known` [S, I]; entries are drawn anew until all are right."""
    n_items = known.shape[1]
    drawn = rng.integers(0, n_items, (len(known), count), dtype=np.int32)
    free = n_items - known.sum(axis=1)
    for row in np.flatnonzero(free < 2 * count):  # few items left: rejection would take long
        drawn[row] = rng.permutation(np.flatnonzero(~known[row]))[:count]
    pending = np.arange(len(known))
    while len(pending):
        lists = drawn[pending]
        wrong = known[pending[:, None], lists] | _repeats(lists)
        lists[wrong] = rng.integers(0, n_items, int(wrong.sum()), dtype=np.int32)
        drawn[pending] = lists
        pending = pending[wrong.any(axis=1)]
    return drawn


PROTOCOLS: dict[str, Callable[..., Parts]] = {"users": split_users, "leave-one-out": split_leave_one_out}
