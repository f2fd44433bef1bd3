"""Users held out (strong generalisation), after Liang et al. 2018, section 4.1.

Users are divided into training, validation and test; the item set is what training users have; of a held-out user's
items 80 % are shown to the model (fold-in), 20 % are to be found (fold-out).

Two protocols are here: ``default`` draws from named modern generators and does not depend on the order of the source;
``liang2018`` reproduces the published split bit for bit, with its legacy generator and its order.
Shape legend: U users, I items, E interactions of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.encode.events import Block, EventsInMemory
from data_prep.split import filters, segments
from data_prep.split.filters import Filtered
from data_prep.split.matrix import Builder, IntArray, offsets, sort_rows, take_rows
from data_prep.split.result import HeldOut, Split, generator
from data_prep.split.rules import LIANG2018, SplitRules

MIN_ITEMS_TO_SPLIT = 5
TRAIN, VALID, TEST = 0, 1, 2
Chooser = Callable[[Block], npt.NDArray[np.bool_]]
"""Which interactions of a block of held-out users are to be found: [E]."""


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """The item set."""

    new: npt.NDArray[np.int32]
    """[I] the column of each item, -1 for those outside the set."""
    old: IntArray
    """The item of each column."""


def split(kept: Filtered, rules: SplitRules, scratch: Path | None = None) -> Split:
    """Divide the users.

    Args:
        scratch: folder for matrices that do not fit into memory; None: they do.

    Raises:
        ValueError: there are not enough users to hold out.
    """
    users = np.flatnonzero(kept.users)
    held = held_out_count(rules, len(users))
    order = _user_order(len(users), rules)
    parts = np.split(users[order], [len(users) - 2 * held, len(users) - held])
    role = np.full(len(kept.users), -1, np.int8)
    for number, part in enumerate(parts):
        role[part] = number
    columns = _item_set(kept, role, rules)
    extra = _extra_items(kept, columns)
    train = Builder(len(columns.old), scratch and scratch / "train")
    sizes = (len(columns.old), len(extra.old))
    held_out = [_HeldOutUsers(sizes, rules, name, scratch) for name in ("valid", "test")]
    for block in kept.blocks():
        mine = role[block.first : block.first + len(block.lengths)]
        own = _with_columns(block, mine == TRAIN, columns)
        train.append(own.lengths, sort_rows(own.indptr, own.items))
        for number, collected in enumerate(held_out, start=VALID):
            wanted = mine == number
            collected.append(_with_columns(block, wanted, columns), _with_columns(block, wanted, extra))
    trained = train.finished()
    if rules.protocol == LIANG2018:  # users in the order in which they were drawn
        ascending = [np.sort(part) for part in parts]
        drawn = [np.searchsorted(a, part) for a, part in zip(ascending, parts, strict=True)]
        trained = trained.rows(drawn[0])
        sides = [h.finished(kept.user_ids, a, d) for h, a, d in zip(held_out, ascending[1:], drawn[1:], strict=True)]
    else:
        parts = [np.sort(part) for part in parts]
        sides = [h.finished(kept.user_ids, part) for h, part in zip(held_out, parts[1:], strict=True)]
    counts = kept.counts() | {
        "train_users": len(parts[0]),
        "train_items": len(columns.old),
        "train_events": trained.nnz,
        "held_out_users": held,
    }
    return Split(
        train=trained,
        train_user_ids=kept.user_ids.take(pa.array(parts[0])),
        valid=sides[0],
        test=sides[1],
        item_ids=kept.item_ids.take(pa.array(columns.old)),
        extra_item_ids=kept.item_ids.take(pa.array(extra.old)),
        counts=counts,
        notes=(*kept.notes, *filters.of_item_set(counts["items"], counts["train_items"])),
    )


def held_out_count(rules: SplitRules, users: int) -> int:
    """Users held out for validation, and as many for the test.

    Raises:
        ValueError: there are too few.
    """
    wanted = rules.held_out_users
    held = int(wanted) if wanted >= 1 else max(1, int(wanted * users))
    if users - 2 * held < 1 or held < 1:
        raise ValueError(
            f"cannot hold out {held} users for validation and {held} for test: {users} users have at least "
            f"{rules.min_user_items} items; "
            + (f"--held-out-users takes 1 to {(users - 1) // 2}" if users > 2 else "three at least are needed")
        )
    return held


def _user_order(n: int, rules: SplitRules) -> IntArray:
    if rules.protocol == LIANG2018:
        return np.random.RandomState(rules.seed).permutation(n)
    return generator(rules.seed, "users").permutation(n)


def _item_set(kept: Filtered, role: npt.NDArray[np.int8], rules: SplitRules) -> _Columns:
    """Columns that training users have: ascending by id, or as published by first appearance in the source."""
    present = np.zeros(len(kept.items), bool)
    for block in kept.blocks():
        mine = role[block.first : block.first + len(block.lengths)] == TRAIN
        present[block.items[np.repeat(mine, block.lengths)]] = True
    old: IntArray = np.flatnonzero(present)
    if rules.protocol == LIANG2018:
        assert isinstance(kept.events, EventsInMemory) and kept.events.in_file is not None
        users, items = kept.events.in_file
        appearing = items[role[users] == TRAIN]
        old = _first_appearance(appearing[present[appearing]], len(present))
    new = np.full(len(present), -1, np.int32)
    new[old] = np.arange(len(old), dtype=np.int32)
    return _Columns(new=new, old=old)


def _extra_items(kept: Filtered, columns: _Columns) -> _Columns:
    """Items that only held-out users have, with columns of their own, ascending by id."""
    old: IntArray = np.flatnonzero((kept.item_counts > 0) & (columns.new < 0))
    new = np.full(len(columns.new), -1, np.int32)
    new[old] = np.arange(len(old), dtype=np.int32)
    return _Columns(new=new, old=old)


def _first_appearance(items: IntArray, n_items: int) -> IntArray:
    """Distinct items in the order in which they first appear."""
    position = np.full(n_items, -1, np.int64)
    position[items[::-1]] = np.arange(len(items) - 1, -1, -1)  # the last write, the earliest place, stays
    seen = np.flatnonzero(position >= 0)
    return seen[np.argsort(position[seen])]


def _with_columns(block: Block, wanted: npt.NDArray[np.bool_], columns: _Columns) -> Block:
    """The wanted users of a block, with items renamed to columns and those outside the set dropped."""
    rows = np.flatnonzero(wanted)
    items = columns.new[take_rows(block.indptr, block.items, rows)]
    own = Block(first=0, indptr=offsets(block.lengths[rows]), items=items)
    return own.kept(items >= 0)


class _HeldOutUsers:
    """Collects the held-out users of one set."""

    def __init__(self, sizes: tuple[int, int], rules: SplitRules, name: str, scratch: Path | None) -> None:
        """
        Args:
            sizes: numbers of items of training users, and of extra items.
        """
        n_items, n_extra = sizes
        self._rules = rules
        self._rng = generator(rules.seed, f"fold-out/{name}")
        self._parts = [Builder(n_items, scratch and scratch / f"{name}.{part}") for part in ("fold_in", "fold_out")]
        self._extra = Builder(n_extra, scratch and scratch / f"{name}.extra")
        self._legacy = np.random.RandomState(rules.seed)

    def append(self, block: Block, extra: Block) -> None:
        """Add a block of users: their items that training users have, and the others."""
        self._extra.append(extra.lengths, sort_rows(extra.indptr, extra.items))
        if self._rules.protocol == LIANG2018:
            chosen = _fold_out_liang2018(block, self._rules.fold_out_share, self._legacy)
        else:
            items = sort_rows(block.indptr, block.items)
            block = Block(first=0, indptr=block.indptr, items=items)
            chosen = _fold_out(block, self._rules.fold_out_share, self._rng)
        for builder, wanted in zip(self._parts, (~chosen, chosen), strict=True):
            own = block.kept(wanted)
            builder.append(own.lengths, sort_rows(own.indptr, own.items))

    def finished(self, ids: pa.Array, users: IntArray, drawn: IntArray | None = None) -> HeldOut:
        """The set.

        Args:
            users: the users, ascending; drawn: the order to put them in.
        """
        matrices = [builder.finished() for builder in (*self._parts, self._extra)]
        mine = np.asarray(users)
        if drawn is not None:
            matrices, mine = [matrix.rows(drawn) for matrix in matrices], mine[drawn]
        fold_in, fold_out, extra = matrices
        return HeldOut(fold_in=fold_in, fold_out=fold_out, user_ids=ids.take(pa.array(mine)), extra=extra)


def _fold_out(block: Block, share: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """[E] True for items to be found: in each row the int(share * n) ones with the smallest random keys."""
    lengths = block.lengths
    from_end = segments.from_last(block.indptr, rng.random(len(block.items)))
    place = np.repeat(lengths, lengths) - 1 - from_end
    out_per_row = np.where(lengths >= MIN_ITEMS_TO_SPLIT, (share * lengths).astype(np.int64), 0)
    return place < np.repeat(out_per_row, lengths)


def _fold_out_liang2018(block: Block, share: float, rng: np.random.RandomState) -> npt.NDArray[np.bool_]:
    """[E] True for items to be found, drawn as published: one legacy generator, users by ascending original id.

    The loop is over held-out users only, and cannot go: each draw consumes an unknown number of words of the generator.
    """
    chosen = np.zeros(len(block.items), bool)
    for start, n in zip(block.indptr[:-1], block.lengths, strict=True):
        if n >= MIN_ITEMS_TO_SPLIT:
            chosen[start + rng.choice(int(n), size=int(share * n), replace=False)] = True
    return chosen
