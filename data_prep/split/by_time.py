"""Split by time, for all users at once: training before one moment, validation from it to another, the test after.

This is the split of a system in use: it learns from the past and is judged by what follows. Users and items that have
no training interaction are new; a model that ranks the training items cannot be judged by them, so they are counted and
left out. Shape legend: E interactions of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.encode.events import Block
from data_prep.split.by_interaction import Chosen, Roles, assemble, notes_on_new
from data_prep.split.filters import Filtered
from data_prep.split.result import Split
from data_prep.split.rules import SplitRules

BINS = 1 << 16
"""Bins in which times are counted at once."""
ROUNDING = 1e-6
"""Added to a share of a number, so that 0.29 of 100 is 29."""
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


def moment_of_share(blocks: Callable[[], Iterator[Block]], share: float, more: int = 0) -> Moment:
    """The earliest moment from which at most that share of all interactions is, and `more` interactions.

    Interactions of one moment stay together. Times are counted in bins; each pass looks into one bin of the pass
    before, until that is a single moment. It is the time of an interaction, or later than all of them.

    Args:
        blocks: gives all blocks, as often as it is called.
    """
    first, last, total = _range(blocks)
    is_float = isinstance(first, float)
    low, high = (int(_sortable(np.array([moment]))[0]) for moment in (first, last))
    end, above, wanted = high + 1, 0, more + int(share * total + ROUNDING)
    if total <= wanted:
        return first
    while low < high:
        starts = _starts(low, high)
        counts = np.zeros(len(starts), np.int64)
        for times in _times(blocks, low, high):
            counts += np.bincount(np.searchsorted(starts, times, side="right") - 1, minlength=len(starts))
        from_end = above + np.cumsum(counts[::-1])
        fitting = int(np.searchsorted(from_end, wanted, side="right"))
        above = int(from_end[fitting - 1]) if fitting else above
        inside = len(starts) - 1 - fitting
        low, high = int(starts[inside]), int(starts[inside + 1]) - 1 if fitting else high
    later = [times.min() for times in _times(blocks, low + 1, end - 1) if len(times)]
    return _moment(int(min(later)) if later else end, is_float)


def _sortable(times: npt.NDArray) -> npt.NDArray[np.int64]:
    """[E] whole numbers in the order of the times, equal ones for equal times."""
    if times.dtype.kind != "f":
        return times.astype(np.int64, copy=False)
    bits = (times.astype(np.float64) + 0.0).view(np.int64)  # -0.0 becomes 0.0
    return bits ^ ((bits >> 63) & np.int64(2**63 - 1))


def _moment(number: int, is_float: bool) -> Moment:
    """The time of a number that `_sortable` made."""
    if not is_float:
        return number
    return float(np.array(number if number >= 0 else number ^ (2**63 - 1), np.int64).view(np.float64))


def _starts(low: int, high: int) -> npt.NDArray[np.int64]:
    """Where bins begin that cover all numbers from `low` to `high`."""
    bins, size = min(BINS, high - low + 1), high - low + 1
    return np.array([low + size * k // bins for k in range(bins)], np.int64)


def _range(blocks: Callable[[], Iterator[Block]]) -> tuple[Moment, Moment, int]:
    """The first and the last time, and the number of interactions."""
    found = [(b.times.min(), b.times.max(), len(b.times)) for b in blocks() if b.times is not None and len(b.times)]
    lows, highs, counts = zip(*found, strict=True)
    return min(lows).item(), max(highs).item(), sum(counts)


def _times(blocks: Callable[[], Iterator[Block]], low: int, high: int) -> Iterator[npt.NDArray[np.int64]]:
    """The times from `low` to `high` of each block, as `_sortable` makes them."""
    for block in blocks():
        assert block.times is not None
        times = _sortable(block.times)
        yield times[(times >= low) & (times <= high)]


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
        validation_from = moment_of_share(kept.blocks, rules.validation_share, later)
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
    low, high, _ = _range(kept.blocks)
    if low == high:
        raise ValueError(f"all times are {shown(low)}, expected different ones; name another column with --time-column")
    if not borders.validation_from < borders.test_from:
        raise ValueError(
            f"validation would be from {shown(borders.validation_from)} and the test from {shown(borders.test_from)}, "
            "expected validation to begin before the test; give --validation-from and --test-from other moments"
        )
    found = assemble(Chosen(kept=kept, chooser=lambda: lambda sifted: borders.roles(sifted.block)), scratch).split
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
        "last": high,
    }
    return replace(found, notes=(*notes_on_new(found.counts), *found.notes), details={"times": details})
