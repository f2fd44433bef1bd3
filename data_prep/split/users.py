"""Filtering and splitting by users (strong generalisation), after Liang et al. 2018, section 4.1.

Events of users with enough items are kept; users are divided into training, validation and test; the item set is what
training users have; of a held-out user's items 80 % are shown to the model (fold-in), 20 % are to be found (fold-out).

Two protocols are here (`leave_one_out` has the third): ``default`` draws from named modern generators and does not
depend on the order of the file; ``liang2018`` reproduces the published split bit for bit, with its legacy generator and
its order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data_prep.read.interactions import Ids, Interactions
from data_prep.split import filters
from data_prep.split.rules import SplitRules

LIANG2018_MIN_ITEMS_TO_SPLIT = 5
IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Two matrices over the same users: what the model sees and what it has to find. Both [U, I] CSR."""

    fold_in: sp.csr_matrix
    fold_out: sp.csr_matrix
    user_ids: Ids
    train_rows: npt.NDArray[np.int32] | None = None
    """[S] rows of the training matrix, for users who are in it (leave-one-out)."""
    candidates: npt.NDArray[np.int32] | None = None
    """[S, 1 + N] the item to be found, then sampled negatives (leave-one-out)."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The divided data. Every matrix has the same I columns."""

    train: sp.csr_matrix
    train_user_ids: Ids
    valid: HeldOut
    test: HeldOut
    item_ids: Ids
    """[I] original id of each column."""
    counts: dict[str, int]
    notes: tuple[str, ...] = ()
    """Sentences for the owner of the data."""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A named child of the root seed: the same name gives the same stream, another name an independent one."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),)))


def factorize(ids: Ids) -> tuple[npt.NDArray[np.int32], Ids]:
    """Replace ids by their rank among the distinct ids.

    Returns:
        [E] codes and the [U] distinct ids in ascending order.
    """
    largest = int(ids.max(initial=0))
    if largest < 4 * ids.size + (1 << 20):  # a table of that many flags is cheaper than a sort
        present = np.zeros(largest + 1, bool)
        present[ids] = True
        distinct = np.flatnonzero(present)
        code = np.cumsum(present, dtype=np.int32) - np.int32(1)
        return code[ids], distinct.astype(ids.dtype)
    distinct, codes = np.unique(ids, return_inverse=True)
    return codes.astype(np.int32), distinct


def in_file_order(users: IntArray, items: IntArray, shape: tuple[int, int]) -> sp.csr_matrix:
    """CSR [U, I] whose rows keep the order of the file (scipy's own conversion would sort them)."""
    if np.any(users[1:] < users[:-1]):
        order = np.argsort(users, kind="stable")
        users, items = users[order], items[order]
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=shape[0]), out=indptr[1:])
    return sp.csr_matrix((np.ones(len(items), np.int8), items, indptr), shape=shape, copy=False)


def _user_rows(
    users: IntArray, items: IntArray, shape: tuple[int, int], keep_file_order: bool
) -> tuple[sp.csr_matrix, int]:
    """CSR [U, I] without repeated pairs, and the number of pairs dropped. Rows ascend unless file order counts."""
    if not keep_file_order:
        matrix = sp.coo_matrix((np.ones(len(items), np.int8), (users, items)), shape=shape).tocsr()
        matrix.data.fill(1)  # repeated pairs were summed
        return matrix, len(items) - matrix.nnz
    keys = users.astype(np.int64) * shape[1] + items
    first = np.unique(keys, return_index=True)[1]
    dropped = len(keys) - len(first)
    if dropped:
        first.sort()
        users, items = users[first], items[first]
    return in_file_order(users, items, shape), dropped


def _filtered(matrix: sp.csr_matrix, rules: SplitRules) -> tuple[sp.csr_matrix, IntArray, int]:
    """Drop rare items once, then users with few items once, as the published code does.

    Returns:
        The rest, the rows of the users in it, and the number of items that are not rare.
    """
    frequent = matrix.shape[1]
    if rules.min_item_users > 1:
        enough = np.bincount(matrix.indices, minlength=matrix.shape[1]) >= rules.min_item_users
        matrix, frequent = _keep_columns(matrix, enough), int(enough.sum())
    kept = np.flatnonzero(np.diff(matrix.indptr) >= max(rules.min_user_items, 1))
    return (matrix if len(kept) == matrix.shape[0] else matrix[kept]), kept, frequent


def _keep_columns(matrix: sp.csr_matrix, wanted: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """Drop the entries of unwanted columns (the width stays), keeping the order within rows."""
    kept = wanted[matrix.indices]
    if kept.all():
        return matrix
    before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
    shape = matrix.shape
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], before[matrix.indptr]), shape=shape, copy=False)


def _renumbered(matrix: sp.csr_matrix, new_index: IntArray, width: int) -> sp.csr_matrix:
    """Columns renamed to their place in the item set, those outside it dropped. Keeps the order within rows."""
    kept = _keep_columns(matrix, new_index >= 0)
    indices = new_index[kept.indices].astype(np.int32)
    return sp.csr_matrix((kept.data, indices, kept.indptr), shape=(kept.shape[0], width), copy=False)


def _user_order(n: int, rules: SplitRules) -> IntArray:
    if rules.protocol == "liang2018":
        return np.random.RandomState(rules.seed).permutation(n)
    return generator(rules.seed, "users").permutation(n)


def _first_appearance(items: IntArray, n_items: int) -> IntArray:
    """Distinct items in the order in which they first appear."""
    position = np.full(n_items, -1, np.int64)
    position[items[::-1]] = np.arange(len(items) - 1, -1, -1)  # the last write, the earliest place, stays
    seen = np.flatnonzero(position >= 0)
    return seen[np.argsort(position[seen])]


def _fold_out_default(matrix: sp.csr_matrix, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """[E] True for entries to be found: in each row the int(share * n) ones with the smallest random keys."""
    lengths = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((rng.random(matrix.nnz), rows))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    out_per_row = np.where(lengths >= LIANG2018_MIN_ITEMS_TO_SPLIT, (share * lengths).astype(np.int64), 0)
    chosen = np.zeros(matrix.nnz, bool)
    chosen[order] = place < np.repeat(out_per_row, lengths)
    return chosen


def _fold_out_liang2018(matrix: sp.csr_matrix, share: float, seed: int, by_id: IntArray) -> npt.NDArray[np.bool_]:
    """[E] True for entries to be found, drawn as published: one legacy generator, users by ascending original id.

    The loop is over held-out users only, and cannot go: each draw consumes an unknown number of words of the generator.
    """
    rng = np.random.RandomState(seed)
    chosen = np.zeros(matrix.nnz, bool)
    for row in by_id:
        start, n = int(matrix.indptr[row]), int(matrix.indptr[row + 1] - matrix.indptr[row])
        if n >= LIANG2018_MIN_ITEMS_TO_SPLIT:
            chosen[start + rng.choice(n, size=int(share * n), replace=False)] = True
    return chosen


def _held_out(matrix: sp.csr_matrix, user_ids: Ids, rules: SplitRules, name: str) -> HeldOut:
    if rules.protocol == "liang2018":
        chosen = _fold_out_liang2018(matrix, rules.fold_out_share, rules.seed, np.argsort(user_ids))
    else:
        matrix.sort_indices()
        chosen = _fold_out_default(matrix, rules.fold_out_share, generator(rules.seed, f"fold-out/{name}"))
    return HeldOut(fold_in=_entries(matrix, ~chosen), fold_out=_entries(matrix, chosen), user_ids=user_ids)


def _entries(matrix: sp.csr_matrix, chosen: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """The chosen entries with ascending columns in each row."""
    before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
    part = sp.csr_matrix(
        (matrix.data[chosen], matrix.indices[chosen], before[matrix.indptr]), shape=matrix.shape, copy=False
    )
    part.sort_indices()
    return part


def split(events: Interactions, rules: SplitRules) -> Split:
    """Filter and divide.

    Raises:
        ValueError: nothing is left after filtering, or there are not enough users to hold out.
    """
    if not len(events.users):
        raise ValueError(f"no events left of {events.rows_read} rows; lower --threshold or check the rating column")
    users, user_ids = factorize(events.users)
    items, raw_item_ids = factorize(events.items)
    shape = (len(user_ids), len(raw_item_ids))
    matrix, duplicates = _user_rows(users, items, shape, keep_file_order=rules.protocol == "liang2018")
    matrix, kept, frequent = _filtered(matrix, rules)
    user_ids, n = user_ids[kept], len(kept)
    if not n:
        raise ValueError(
            f"no user has {rules.min_user_items} items (all {shape[0]} users filtered away); lower --min-user-items"
            f"{' or --min-item-users' if rules.min_item_users > 1 else ''}"
        )
    wanted = rules.held_out_users
    held = int(wanted) if wanted >= 1 else max(1, int(wanted * n))
    if n - 2 * held < 1 or held < 1:
        raise ValueError(
            f"cannot hold out {held} users for validation and {held} for test: {n} users have at least "
            f"{rules.min_user_items} items; "
            + (f"--held-out-users takes 1 to {(n - 1) // 2}" if n > 2 else "three at least are needed")
        )
    order = _user_order(n, rules)
    parts = [order[: n - 2 * held], order[n - 2 * held : n - held], order[n - held :]]
    if rules.protocol != "liang2018":
        parts = [np.sort(p) for p in parts]
    train = matrix[parts[0]]
    columns = _item_set(train, kept[parts[0]], users, items, rules)
    new_index = np.full(shape[1], -1, np.int64)
    new_index[columns] = np.arange(len(columns))
    train = _renumbered(train, new_index, len(columns))
    train.sort_indices()
    held_out = [
        _held_out(_renumbered(matrix[p], new_index, len(columns)), user_ids[p], rules, name)
        for p, name in zip(parts[1:], ("valid", "test"), strict=True)
    ]
    counts = {
        "rows_read": events.rows_read,
        "duplicates_dropped": int(duplicates),
        "events": int(matrix.nnz),
        "users": n,
        "items": int(np.count_nonzero(np.bincount(matrix.indices, minlength=shape[1]))),
        "train_users": len(parts[0]),
        "train_items": len(columns),
        "train_events": int(train.nnz),
        "held_out_users": held,
    }
    notes = filters.of_rules(rules, (shape[0], n), (shape[1], frequent, counts["items"]))
    return Split(
        train=train,
        train_user_ids=user_ids[parts[0]],
        valid=held_out[0],
        test=held_out[1],
        item_ids=raw_item_ids[columns],
        counts=counts,
        notes=(*notes, *filters.of_item_set(counts["items"], counts["train_items"])),
    )


def _item_set(
    train: sp.csr_matrix, train_rows: IntArray, users: IntArray, items: IntArray, rules: SplitRules
) -> IntArray:
    """Columns that training users have: ascending by id, or as published by first appearance in the file."""
    present = np.zeros(train.shape[1], bool)
    present[train.indices] = True
    if rules.protocol != "liang2018":
        return np.flatnonzero(present)
    is_train = np.zeros(int(users.max()) + 1, bool)
    is_train[train_rows] = True
    appearing = items[is_train[users]]
    return _first_appearance(appearing[present[appearing]], train.shape[1])
