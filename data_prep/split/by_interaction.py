"""Interactions of training users held out: what leave-one-out and the splits by time, per user and given files share.

A row of validation shows a user's training items (fold-in) and asks for those of validation (fold-out); a row of the
test shows both and asks for those of the test. Shape legend: U users, I items, E interactions of a block, S held-out
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.encode.events import Block
from data_prep.split import segments
from data_prep.split.filters import Filtered, Sifted, renumbered
from data_prep.split.matrix import Builder, Matrix
from data_prep.split.result import HeldOut, Split

TRAIN, VALID, TEST, DROPPED = 0, 1, 2, 3
Roles = npt.NDArray[np.int8]
Chooser = Callable[[Sifted], Roles]
"""TRAIN, VALID, TEST or DROPPED for each interaction [E] that is kept. Called for the blocks in order, in each pass."""
FOLLOWS = {
    "valid": ((TRAIN,), VALID),
    "test": ((TRAIN, VALID), TEST),
}
"""Held-out set -> what is shown, and what is asked for."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Filtered events with a role for each interaction."""

    kept: Filtered
    chooser: Callable[[], Chooser]
    """Makes a chooser for one pass over the blocks, so that each pass draws the same random numbers."""

    def blocks(self) -> Iterator[tuple[Block, Roles]]:
        """Each block, and the roles of its interactions."""
        chooser = self.chooser()
        for sifted in self.kept.sifted():
            yield sifted.block, chooser(sifted)


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    trained: npt.NDArray[np.bool_]
    """[U] users with a training interaction."""
    items: npt.NDArray[np.bool_]
    """[I] items with a training interaction."""
    new_users: dict[str, int]
    new_items: dict[str, int]
    dropped: dict[str, int]


def _sizes(chosen: Chosen) -> _Sizes:
    """The training users and items, and how many users, items and interactions of each set are new."""
    n_users, n_items = len(chosen.kept.users), len(chosen.kept.items)
    users = np.zeros((3, n_users), bool)
    items = np.zeros((3, n_items), bool)
    for block, roles in chosen.blocks():
        rows = block.rows() + block.first
        for role in (TRAIN, VALID, TEST):
            users[role, rows[roles == role]] = True
            items[role, block.items[roles == role]] = True
    names = {VALID: "validation", TEST: "test"}
    dropped = dict.fromkeys(names.values(), 0)
    is_new = np.any(users[1:] & ~users[TRAIN]) or np.any(items[1:] & ~items[TRAIN])
    for block, roles in chosen.blocks() if is_new else ():
        known = users[TRAIN, block.rows() + block.first] & items[TRAIN, block.items]
        for role, name in names.items():
            dropped[name] += int(np.count_nonzero((roles == role) & ~known))
    return _Sizes(
        trained=users[TRAIN],
        items=items[TRAIN],
        new_users={name: int(np.count_nonzero(users[role] & ~users[TRAIN])) for role, name in names.items()},
        new_items={name: int(np.count_nonzero(items[role] & ~items[TRAIN])) for role, name in names.items()},
        dropped=dropped,
    )


class _Rows:
    """Collects the rows of one held-out set."""

    def __init__(self, name: str, n_items: int, scratch: Path | None) -> None:
        self._shown, self._wanted = FOLLOWS[name]
        self._parts = [Builder(n_items, scratch and scratch / f"{name}.{part}") for part in ("fold_in", "fold_out")]
        self._users: list[npt.NDArray[np.int64]] = []

    def append(self, block: Block, roles: Roles, rows: npt.NDArray[np.int32]) -> None:
        """Add a block.

        Args:
            block: items are columns, ascending for each user.
            rows: [B] the row in the training matrix of each user.
        """
        fold_in, fold_out = self._parts
        own = block.kept(roles == self._wanted)
        asked = own.lengths > 0
        self._users.append(rows[asked].astype(np.int64))
        fold_out.append(own.lengths[asked], own.items)
        shown = np.repeat(asked, block.lengths)
        shown &= np.logical_or.reduce([roles == role for role in self._shown])
        own = block.kept(shown)
        fold_in.append(own.lengths[asked], own.items)

    def finished(self, ids: pa.Array) -> HeldOut:
        """The set.

        Args:
            ids: [U] of the rows of the training matrix.
        """
        users = np.concatenate([*self._users, np.empty(0, np.int64)])
        fold_in, fold_out = (builder.finished() for builder in self._parts)
        return HeldOut(
            fold_in=fold_in, fold_out=fold_out, user_ids=ids.take(pa.array(users)), train_rows=users.astype(np.int32)
        )


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """A split, and everything that its users have."""

    split: Split
    everything: Matrix | None
    """[U, I] all interactions of the training users; where it was asked for."""


def assemble(
    chosen: Chosen, scratch: Path | None, *, all_items: bool = False, with_everything: bool = False
) -> Assembled:
    """The data set: rows are the users with a training interaction.

    Args:
        scratch: folder for matrices that do not fit into memory; None: they do.
        all_items: whether items without a training interaction are columns too; else their interactions are dropped.
        with_everything: whether to collect `Assembled.everything`.
    """
    kept, sizes = chosen.kept, _sizes(chosen)
    columns = kept.items if all_items else sizes.items
    row, column = renumbered(sizes.trained), renumbered(columns)
    n_items = int(np.count_nonzero(columns))
    train = Builder(n_items, scratch and scratch / "train")
    everything = Builder(n_items, scratch and scratch / "everything") if with_everything else None
    held_out = {name: _Rows(name, n_items, scratch) for name in FOLLOWS}
    for block, roles in chosen.blocks():
        mine = slice(block.first, block.first + len(block.lengths))
        known = (roles != DROPPED) & columns[block.items] & np.repeat(sizes.trained[mine], block.lengths)
        own, roles = _by_column(block.kept(known), column, roles[known])
        trained = own.kept(roles == TRAIN)
        is_row = sizes.trained[mine]
        train.append(trained.lengths[is_row], trained.items)
        del trained
        if everything is not None:
            everything.append(own.lengths[is_row], own.items)
        for rows in held_out.values():
            rows.append(own, roles, row[mine])
    ids = kept.user_ids.take(pa.array(np.flatnonzero(sizes.trained)))
    trained_matrix = train.finished()
    valid, test = (held_out[name].finished(ids) for name in FOLLOWS)
    counts = kept.counts() | {
        "train_users": len(ids),
        "train_items": n_items,
        "train_events": trained_matrix.nnz,
        "held_out_users": test.fold_out.n_users,
        "validation_users": valid.fold_out.n_users,
    }
    split = Split(
        train=trained_matrix,
        train_user_ids=ids,
        valid=valid,
        test=test,
        item_ids=kept.item_ids.take(pa.array(np.flatnonzero(columns))),
        counts=counts | ({} if with_everything else _new(sizes, all_items)),
        notes=kept.notes,
    )
    return Assembled(split=split, everything=None if everything is None else everything.finished())


def _by_column(block: Block, column: npt.NDArray[np.int32], roles: Roles) -> tuple[Block, Roles]:
    """The block with columns in place of items, ascending for each user; and the roles in that order."""
    items, ordered = segments.sorted_within(block.indptr, column[block.items], roles)
    assert ordered is not None
    return Block(first=block.first, indptr=block.indptr, items=items), ordered


def _new(sizes: _Sizes, all_items: bool) -> dict[str, int]:
    """Counts of users and items that are in a held-out set and not in training."""
    counts = {}
    for name in sizes.new_users:
        counts[f"new_users_in_{name}"] = sizes.new_users[name]
        counts[f"new_items_in_{name}"] = sizes.new_items[name]
        if not all_items:
            counts[f"events_of_new_users_or_items_in_{name}"] = sizes.dropped[name]
    return {name: count for name, count in counts.items() if count}


def notes_on_new(counts: Mapping[str, int]) -> list[str]:
    """A sentence for each held-out set from which interactions of new users and items are left out."""
    notes = []
    for name in ("validation", "test"):
        users, items = counts.get(f"new_users_in_{name}", 0), counts.get(f"new_items_in_{name}", 0)
        left_out = counts.get(f"events_of_new_users_or_items_in_{name}", 0)
        who = " and ".join(f"{count:,} {kind}" for count, kind in ((users, "users"), (items, "items")) if count)
        if left_out:
            notes.append(
                f"{name}: {who} are new (they have no training interaction); {left_out:,} interactions of theirs are "
                "left out"
            )
    return notes
