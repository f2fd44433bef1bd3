"""Filters: users and items with few interactions, k-core, caps; and notes about what they drop.

Shape legend: U users, I items, E interactions of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.encode.events import Block, Events, Facts
from data_prep.split import segments
from data_prep.split.result import generator
from data_prep.split.rules import SplitRules

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """The interactions of a block that are kept, and all of it."""

    block: Block
    whole: Block
    chosen: Flags | None
    """[E of the whole] which of them are kept; None: all."""


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """Events of the users and items that are kept; their numbers stay those of all."""

    events: Events
    users: Flags
    """[U]"""
    items: Flags
    """[I]"""
    lengths: npt.NDArray[np.int64]
    """[U] interactions that are kept of each user."""
    item_counts: npt.NDArray[np.int64]
    """[I] users of each item that are kept."""
    cap: int = 0
    seed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def user_ids(self) -> pa.Array:
        """[U]"""
        return self.events.user_ids

    @property
    def item_ids(self) -> pa.Array:
        """[I]"""
        return self.events.item_ids

    @property
    def facts(self) -> Facts:
        return self.events.facts

    @property
    def has_times(self) -> bool:
        return self.events.has_times

    @property
    def count(self) -> int:
        """Interactions that are kept."""
        return int(self.lengths.sum())

    def blocks(self) -> Iterator[Block]:
        """All users in order; those that are not kept have no interactions."""
        return (one.block for one in self.sifted())

    def sifted(self) -> Iterator[Sifted]:
        """As `blocks`, each with the block that it is of."""
        return _sifted(self.events, self.users, self.items, self.cap, self.seed)

    def counts(self) -> dict[str, int]:
        """What every split reports."""
        facts = self.facts
        counts = {
            "rows_read": facts.rows_read,
            "duplicates_dropped": facts.rows_overridden,
            "events": int(self.lengths.sum()),
            "users": int(np.count_nonzero(self.lengths)),
            "items": int(np.count_nonzero(self.item_counts)),
        }
        more = {
            "pairs_rated_down": facts.rated_down,
            "rows_below_threshold": facts.rows_below,
            "rows_of_other_events": facts.rows_left_out,
        }
        return counts | {name: count for name, count in more.items() if count}


def _sifted(events: Events, users: Flags, items: Flags, cap: int, seed: int) -> Iterator[Sifted]:
    """Blocks without the users and items that are not kept, and with at most `cap` interactions of each user (0: all).

    The cap keeps a user's latest, without times random ones; it comes before the other filters.
    """
    rng, every_item = generator(seed, "cap"), bool(items.all())
    for whole in events.blocks():
        masks = [_capped(whole, cap, rng)] if cap else []
        if not every_item:
            masks.append(items[whole.items])
        mine = users[whole.first : whole.first + len(whole.lengths)]
        if not mine.all():
            masks.append(np.repeat(mine, whole.lengths))
        chosen = np.logical_and.reduce(masks) if masks else None
        yield Sifted(block=whole if chosen is None else whole.kept(chosen), whole=whole, chosen=chosen)


def _capped(block: Block, cap: int, rng: np.random.Generator) -> Flags:
    """[E] the interactions that a cap keeps."""
    rank = block.times if block.times is not None else chance(block, rng)
    return segments.from_last(block.indptr, rank) < cap


def chance(block: Block, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """[E] random numbers; those of the next user follow, and those of a user are drawn by ascending item."""
    drawn = rng.random(len(block.items))
    if segments.ascends(block.indptr, block.items):
        return drawn
    result = np.empty_like(drawn)
    for place, order in segments.orders(block.indptr, block.items):
        result[place][order] = drawn[place]
    return result


def _counted(events: Events, users: Flags, items: Flags, cap: int, seed: int) -> tuple[npt.NDArray, npt.NDArray]:
    """Interactions of each user [U] and of each item [I] among those kept."""
    lengths, counts = np.zeros(len(users), np.int64), np.zeros(len(items), np.int64)
    for one in _sifted(events, users, items, cap, seed):
        block = one.block
        lengths[block.first : block.first + len(block.lengths)] = block.lengths
        counts += np.bincount(block.items, minlength=len(items))
    return lengths, counts


def filtered(events: Events, rules: SplitRules) -> Filtered:
    """Drop rare items once, then users with few items once, as Liang et al. 2018 do; or until all are frequent.

    Raises:
        ValueError: nothing is left.
    """
    users, items = np.ones(len(events.user_ids), bool), np.ones(len(events.item_ids), bool)

    def count() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return _counted(events, users, items, rules.max_user_items, rules.seed)

    lengths, counts = count()
    before = (int(np.count_nonzero(lengths)), int(np.count_nonzero(counts)))
    if not before[0]:
        raise ValueError(_nothing_left(events.facts))
    if rules.min_item_users > 1:
        items = counts >= rules.min_item_users
        lengths, counts = count()
    frequent = int(np.count_nonzero(items & (counts > 0))) if rules.min_item_users > 1 else before[1]
    users = lengths >= max(rules.min_user_items, 1)
    if not users.all():
        lengths, counts = count()
    after_once = (int(users.sum()), int(np.count_nonzero(counts)))
    rounds = 0
    while rules.k_core > 1 and (
        np.any(lengths[users] < rules.k_core) or np.any((counts > 0) & (counts < rules.k_core))
    ):
        users, items = users & (lengths >= rules.k_core), items & (counts >= rules.k_core)
        lengths, counts = count()
        rounds += 1
    if not lengths.any():
        raise ValueError(_all_dropped(rules, before[0]))
    notes = [
        *of_rules(rules, (before[0], after_once[0]), (before[1], frequent, after_once[1])),
        *_of_k_core(rules, rounds, after_once, (int(np.count_nonzero(lengths)), int(np.count_nonzero(counts)))),
    ]
    return Filtered(events=events, users=lengths > 0, items=counts > 0, lengths=lengths, item_counts=counts,
                    cap=rules.max_user_items, seed=rules.seed, notes=tuple(notes))  # fmt: skip


def _nothing_left(facts: Facts) -> str:
    if facts.rated_down:
        return (
            f"no events left of {facts.rows_read} rows: {facts.rated_down:,} (user, item) pairs were rated above the "
            "threshold, and at or below it in a later row, which decides; lower --threshold"
        )
    if facts.rows_left_out == facts.rows_read:
        return f"no events left of {facts.rows_read} rows: none has an event that was asked for"
    return f"no events left of {facts.rows_read} rows; lower --threshold or check the rating column"


def _all_dropped(rules: SplitRules, users: int) -> str:
    if rules.k_core > 1:
        return f"--k-core {rules.k_core} leaves no user (all {users} users filtered away); lower --k-core"
    return (
        f"no user has {rules.min_user_items} items (all {users} users filtered away); lower --min-user-items"
        f"{' or --min-item-users' if rules.min_item_users > 1 else ''}"
    )


def _halved(before: int, after: int) -> bool:
    return before > 0 and after * 2 <= before


def note(flag: str, kind: str, before: int, after: int, why: str) -> list[str]:
    """One note if half of the users or items (`kind`) were dropped or more, else none.

    Args:
        flag: the flag and its value.
        why: what the dropped ones have in common, after "the others".
    """
    if not _halved(before, after):
        return []
    name = flag.split()[0]
    return [f"{flag} keeps {after:,} of {before:,} {kind}: the others {why}; to keep more, lower {name}"]


def of_rules(rules: SplitRules, users: tuple[int, int], items: tuple[int, int, int]) -> list[str]:
    """Notes about --min-item-users and --min-user-items.

    Args:
        users: before and after.
        items: before, after --min-item-users, after --min-user-items.
    """
    by_item, by_user = f"--min-item-users {rules.min_item_users}", f"--min-user-items {rules.min_user_items}"
    fewer = "have fewer items" + (" left" if items[1] < items[0] else "")
    return [
        *note(by_item, "items", items[0], items[1], "have fewer users"),
        *note(by_user, "users", *users, fewer),
        *note(by_user, "items", items[1], items[2], "belong to users who were dropped"),
    ]


def _of_k_core(rules: SplitRules, rounds: int, before: tuple[int, int], after: tuple[int, int]) -> list[str]:
    if not rounds:
        return []
    return [
        f"--k-core {rules.k_core} keeps {after[0]:,} of {before[0]:,} users and {after[1]:,} of {before[1]:,} items "
        f"({rounds} rounds)"
    ]


def of_item_set(items: int, trained: int) -> list[str]:
    """A note about items that only held-out users have."""
    return note("--held-out-users", "items", items, trained, "belong to held-out users only")


def of_threshold(events: Events, threshold: float) -> list[str]:
    """Notes about --threshold: users and items without an interaction."""
    if not events.facts.rows_below:
        return []
    lengths, counts = _counted(events, np.ones(len(events.user_ids), bool), np.ones(len(events.item_ids), bool), 0, 0)
    notes = []
    for kind, found in (("users", lengths), ("items", counts)):
        notes += note(f"--threshold {threshold:g}", kind, len(found), int(np.count_nonzero(found)),
                      "have no rating above it")  # fmt: skip
    return notes


def renumbered(flags: Flags) -> npt.NDArray[np.int32]:
    """[N] the new number of each that is kept, in the same order; -1 for the others."""
    new = np.cumsum(flags, dtype=np.int32) - np.int32(1)
    new[~flags] = -1
    return new
