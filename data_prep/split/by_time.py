"""Split by time, for all users at once: training before one moment, validation from it to another, the test after.

This is the split of a system in use: it learns from the past and is judged by what follows. Users and items that have
no training interaction are new; a model that ranks the training items cannot be judged by them, so they are counted and
left out. Shape legend: E interactions of a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.encode.events import Block
from data_prep.split.by_interaction import Chosen, Roles, assemble
from data_prep.split.filters import Filtered
from data_prep.split.result import Split
from data_prep.split.rules import SplitRules

BINS = 1 << 16
FEW = 1 << 20
"""Times that are sorted at once when a moment is looked for."""
Moment = float | int


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The borders of the split, in the unit of the source."""

    validation_from: Moment
    test_from: Moment

    def roles(self, block: Block) -> Roles:
        """[E] VALID from one moment, TEST from the other."""
        assert block.times is not None
        later = (block.times >= self.validation_from).astype(np.int8) + (block.times >= self.test_from)
        return np.asarray(later, np.int8)


def moment_of_share(blocks: Callable[[], Iterator[Block]], share: float) -> Moment:
    """The earliest moment from which at most that share of all interactions is.

    Interactions of one moment stay together. Times are counted in bins, in one pass for each, until few are left.

    Args:
        blocks: gives all blocks, as often as it is called.
    """
    low, high, total = _range(blocks)
    above, wanted = 0, int(share * total)
    while True:
        edges = _edges(low, high)
        counts = np.zeros(len(edges) - 1, np.int64)
        for times in _times(blocks, low, high):
            counts += np.bincount(np.searchsorted(edges, times, side="right") - 1, minlength=len(counts))[: len(counts)]
        from_end = above + np.cumsum(counts[::-1])
        place = int(np.searchsorted(from_end, wanted, side="right"))
        if place == len(counts):  # all of them are few enough
            return low
        inside = len(counts) - 1 - place
        above = int(from_end[place] - counts[inside])
        narrower = edges[inside].item(), edges[inside + 1].item()
        is_last = counts[inside] <= FEW or len(edges) - 1 < BINS or narrower == (low, high)
        low, high = narrower
        if is_last:
            return _exact(_times(blocks, low, high), above, wanted, high)


def _exact(times: Iterator[npt.NDArray], above: int, wanted: int, otherwise: Moment) -> Moment:
    """The earliest of some times from which at most `wanted` interactions are, of which `above` are later."""
    found: Counter[Moment] = Counter()
    for part in times:
        found.update(dict(zip(*(a.tolist() for a in np.unique(part, return_counts=True)), strict=True)))
    distinct = np.array(sorted(found))
    counts = np.array([found[moment] for moment in distinct.tolist()])
    from_end = above + np.cumsum(counts[::-1])
    enough = int(np.searchsorted(from_end, wanted, side="right"))
    return otherwise if enough == 0 else distinct[::-1][enough - 1].item()


def _edges(low: Moment, high: Moment) -> npt.NDArray:
    """Borders of bins from `low` to below `high`."""
    if isinstance(low, int) and high - low <= BINS:
        return np.arange(low, int(high) + 1)
    if isinstance(low, int):
        return np.array([low + (int(high) - low) * k // BINS for k in range(BINS + 1)], np.int64)
    return np.linspace(low, high, BINS + 1)


def _range(blocks: Callable[[], Iterator[Block]]) -> tuple[Moment, Moment, int]:
    """The first time, one above the last time, and the number of interactions."""
    lows, highs, total = [], [], 0
    for block in blocks():
        if block.times is not None and len(block.times):
            lows.append(block.times.min())
            highs.append(block.times.max())
            total += len(block.times)
    low, high = min(lows), max(highs)
    if low.dtype.kind == "f":
        return float(low), float(np.nextafter(high, np.inf)), total
    return int(low), int(high) + 1, total


def _times(blocks: Callable[[], Iterator[Block]], low: Moment, high: Moment) -> Iterator[npt.NDArray]:
    for block in blocks():
        assert block.times is not None
        yield block.times[(block.times >= low) & (block.times < high)]


def moments(kept: Filtered, rules: SplitRules, validation_from: Moment | None, test_from: Moment | None) -> Moments:
    """The borders: as named, else by shares of the interactions.

    Args:
        validation_from, test_from: in the unit of the source; None: by the rules' shares.

    Raises:
        ValueError: validation does not begin before the test.
    """
    if test_from is None:
        test_from = moment_of_share(kept.blocks, rules.held_out_share)
    if validation_from is None:
        later = sum(int(np.count_nonzero(b.times >= test_from)) for b in kept.blocks() if b.times is not None)
        total = int(kept.lengths.sum())
        validation_from = moment_of_share(kept.blocks, later / total + rules.validation_share)
    return Moments(validation_from=validation_from, test_from=test_from)


def split(
    kept: Filtered,
    rules: SplitRules,
    validation_from: Moment | None = None,
    test_from: Moment | None = None,
    scratch: Path | None = None,
    shown: Callable[[Moment], str] = str,
) -> Split:
    """Divide by time.

    Args:
        shown: how a moment is written in messages.

    Raises:
        ValueError: the source has no times, or a part is empty.
    """
    if not kept.has_times:
        raise ValueError("--protocol time needs a column of times; name it with --time-column")
    borders = moments(kept, rules, validation_from, test_from)
    if not borders.validation_from < borders.test_from:
        raise ValueError(
            f"validation would be from {shown(borders.validation_from)} and the test from {shown(borders.test_from)}, "
            "expected validation to begin before the test; give --validation-from and --test-from other moments"
        )
    found = assemble(Chosen(kept=kept, chooser=lambda: lambda sifted: borders.roles(sifted.block)), scratch).split
    low, high, _ = _range(kept.blocks)
    parts = (("training", found.train.nnz), ("validation", found.valid.fold_out.nnz), ("test", found.test.fold_out.nnz))
    for name, count in parts:
        if not count:
            raise ValueError(
                f"the {name} set would be empty: validation is from {shown(borders.validation_from)}, the test from "
                f"{shown(borders.test_from)}, the times are {shown(low)} to {shown(high)}; "
                "give --validation-from and --test-from moments between, at which known users take known items"
            )
    details = {
        "first": low,
        "validation_from": borders.validation_from,
        "test_from": borders.test_from,
        "last": high - 1 if isinstance(high, int) else high,
    }
    return replace(found, notes=(*_notes(found.counts), *found.notes), details={"times": details})


def _notes(counts: dict[str, int]) -> list[str]:
    """A sentence for each held-out set about users and items that are new in it."""
    notes = []
    for name in ("validation", "test"):
        users, items = counts.get(f"new_users_in_{name}", 0), counts.get(f"new_items_in_{name}", 0)
        left_out = counts.get(f"events_of_new_users_or_items_in_{name}", 0)
        if left_out:
            notes.append(
                f"{name}: {users:,} users and {items:,} items are new (they have no training interaction); "
                f"{left_out:,} interactions of theirs are left out"
            )
    return notes
