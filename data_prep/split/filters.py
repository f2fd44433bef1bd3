"""Notes about filters that drop half of the users or of the items, or more: how many, by which flag, what to change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_prep.read.interactions import Ids, Interactions
from data_prep.split.rules import SplitRules

BLOCK = 1 << 16


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


def of_item_set(items: int, trained: int) -> list[str]:
    """A note about items that only held-out users have."""
    return note("--held-out-users", "items", items, trained, "belong to held-out users only")


def of_threshold(events: Interactions, threshold: float) -> list[str]:
    """Notes about --threshold."""
    if events.low_users is None or events.low_items is None:
        return []
    notes = []
    for kind, high, low in (("users", events.users, events.low_users), ("items", events.items, events.low_items)):
        before, after = _distinct(high, low)
        notes += note(f"--threshold {threshold:g}", kind, before, after, "have no rating above it")
    return notes


def _distinct(ids: Ids, more: Ids) -> tuple[int, int]:
    """Distinct ids of both arrays, and of the first."""
    largest = max(int(ids.max(initial=0)), int(more.max(initial=0)))
    if largest < ids.size + more.size + (1 << 20):  # a table of that many flags is cheaper than a sort
        present = np.zeros(largest + 1, bool)
        _mark(present, ids)
        first = int(np.count_nonzero(present))
        _mark(present, more)
        return int(np.count_nonzero(present)), first
    return len(np.union1d(ids, more)), len(np.unique(ids))


def _mark(present: npt.NDArray[np.bool_], ids: Ids) -> None:
    """Set the flags of some ids, in blocks that stay in the processor's cache."""
    for start in range(0, len(ids), BLOCK):
        present[ids[start : start + BLOCK]] = True
