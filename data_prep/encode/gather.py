"""Reading a source into memory: every row, then the interactions of each user.

Shape legend: R rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep import progress
from data_prep.encode import settle
from data_prep.encode.events import FILE, ITEM, EventsInMemory, Facts
from data_prep.encode.ids import NamesSeen, encoded
from data_prep.parallel import Ranks
from data_prep.read.rows import Ids, Keys, Names, Rows, Times
from data_prep.read.schema import Schema
from data_prep.read.source import read_all

T = TypeVar("T")
COLUMNS = ("users", "items", "values", "times")
ROW_BYTES = 70
"""Memory for a row at the most: its columns, and what it takes to settle pairs that repeat."""
TEXT_BYTES = 60
"""Memory for the text of a row's id, where few ids repeat."""


class Readable(Protocol):
    """The part of a `read.source.Source` that is needed here."""

    @property
    def schema(self) -> Schema:
        """Its columns."""

    def rows_estimate(self) -> int:
        """About how many rows there are."""

    def widen(self, column: str, values: Sequence[str]) -> None:
        """As `read.source.Source.widen`."""

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """As `read.source.Source.read`."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Columns of some rows, as small as they can be."""

    users: Keys
    items: Keys
    values: npt.NDArray[np.float32] | npt.NDArray[np.bool_] | None
    """[R] values where their sum decides, else whether they are above the threshold; None: every row is positive."""
    times: Times | None
    names: dict[str, list[Names]] = field(default_factory=dict)
    """user and item -> the texts behind the keys."""
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Use:
    """What is kept of a block of rows; called in the threads that parse."""

    rule: str
    threshold: float
    keeps_times: bool = True

    def __call__(self, rows: Rows) -> Part:
        values: npt.NDArray | None = rows.values
        if values is not None and self.rule != settle.SUM:
            values = values > self.threshold
        names = {kind: [ids.names] for kind, ids in (("user", rows.users), ("item", rows.items)) if ids.names}
        times = _small_times(rows.times) if self.keeps_times and rows.times is not None else None
        users, items = _small(rows.users), _small(rows.items)
        return Part(users=users, items=items, values=values, times=times, names=names, left_out=rows.left_out)


def _small(ids: Ids) -> Keys:
    return ids.keys if ids.names is not None else smallest(ids.keys)


def _small_times(times: Times) -> Any:
    return smallest(times) if times.dtype == np.int64 else times


def smallest(numbers: Any) -> Any:
    """Whole numbers as int32 where all fit, to halve the memory of every later step."""
    if numbers.dtype == np.int32 or not len(numbers):
        return numbers.astype(np.int32)
    return numbers.astype(np.int32) if numbers.min() >= -(2**31) and numbers.max() < 2**31 else numbers


def joined(parts: list[Part]) -> Part:
    """All rows, in order. The list is emptied, so that the columns of the parts are freed one after another."""
    names, left_out = _names(parts), sum(p.left_out for p in parts)
    columns = {name: [getattr(p, name) for p in parts] for name in COLUMNS}
    parts.clear()
    none = np.empty(0, np.int32)
    users, items = (_concatenated(columns.pop(name), none) for name in ("users", "items"))
    values, times = (_concatenated(columns.pop(name)) for name in ("values", "times"))
    return Part(users=users, items=items, values=values, times=times, names=names, left_out=left_out)


def _concatenated(arrays: list[npt.NDArray | None], without: npt.NDArray | None = None) -> Any:
    """One array of those that are there; `without` where none is."""
    found = [array for array in arrays if array is not None]
    return np.concatenate(found) if len(found) > 1 else found[0] if found else without


def _names(parts: Sequence[Part]) -> dict[str, list[Names]]:
    kinds = dict.fromkeys(kind for p in parts for kind in p.names)
    return {kind: [n for p in parts for n in p.names.get(kind, ())] for kind in kinds}


class TooManyRows(Exception):
    """There are more rows than the memory takes; more than were expected."""


def row_bytes(schema: Schema) -> int:
    """Memory for a row at the most."""
    texts = sum(pa.types.is_string(schema.types[column]) for column in (schema.user, schema.item))
    return ROW_BYTES + texts * TEXT_BYTES


def gather(
    source: Readable, ranks: Ranks, *, threshold: float, order: str, most_rows: int | None = None
) -> EventsInMemory | None:
    """The interactions of a source on rank 0, None elsewhere.

    Args:
        threshold: rows with a value above it are positive.
        order: one of `events.ORDERS`.
        most_rows: of all ranks together.

    Raises:
        ValueError: the source is broken.
        TooManyRows: it has more than `most_rows`.
    """
    # Ordered by item, only the times of pairs that repeat decide anything. Few tables of ratings have such pairs: their
    # times are not held in memory, and a source that has some is read again.
    if order == ITEM:
        try:
            return _gathered(source, ranks, threshold, order, most_rows, keeps_times=False)
        except settle.TimesNeeded:
            progress.step("reading again with times: some pairs have several rows, of which the latest decides")
    return _gathered(source, ranks, threshold, order, most_rows, keeps_times=True)


def _gathered(
    source: Readable, ranks: Ranks, threshold: float, order: str, most_rows: int | None, *, keeps_times: bool
) -> EventsInMemory | None:
    """`gather`, in one pass over the source.

    Raises:
        TimesNeeded: on every rank.
    """
    rule = settle.RULES[source.schema.kind]
    use = Use(rule=rule, threshold=threshold, keeps_times=keeps_times)
    rows, events, lacks_times = [read(source, ranks, use, most_rows)], None, None
    left_out = source.schema.time is not None and not keeps_times
    if rows[0] is not None:
        try:
            events = in_memory(rows, rule=rule, threshold=threshold, order=order, left_times_out=left_out)  # type: ignore[arg-type]
        except settle.TimesNeeded:
            lacks_times = True
    if ranks.agree(lacks_times):
        raise settle.TimesNeeded
    return events


def read(source: Readable, ranks: Ranks, use: Use, most_rows: int | None = None) -> Part | None:
    """The rows of all ranks on rank 0, None elsewhere.

    Raises:
        ValueError: the source is broken.
        TooManyRows: it has more than `most_rows`.
    """
    most = math.inf if most_rows is None else most_rows / ranks.size
    mine = read_all(source, lambda: _read_mine(source, ranks, use, most), ranks.agree)
    if ranks.agree(True if mine is None else None):
        raise TooManyRows
    assert mine is not None
    if ranks.size == 1:
        return mine
    columns: list[dict[str, Any]] = ranks.gather_arrays({name: getattr(mine, name) for name in COLUMNS})
    others = ranks.gather((mine.names, mine.left_out))
    del mine
    parts = [Part(**own, names=names, left_out=count) for own, (names, count) in zip(columns, others, strict=True)]
    columns.clear()
    return joined(parts) if ranks.is_first else None


def _read_mine(source: Readable, ranks: Ranks, use: Use, most: float) -> Part | None:
    """The rows of this rank; None if they are more than `most`."""
    parts, seen, rows = list[Part](), {kind: NamesSeen(kind) for kind in ("user", "item")}, 0
    for part in source.read(ranks.rank, ranks.size, use):
        for kind, of_part in part.names.items():
            seen[kind].add(of_part)
        parts.append(replace(part, names={}))
        rows += len(part.users)
        if rows > most:
            return None
    names = {kind: found for kind, of_kind in seen.items() if (found := of_kind.found())}
    return replace(joined(parts), names=names)


def in_memory(
    held: list[Part], *, rule: str, threshold: float, order: str, left_times_out: bool = False
) -> EventsInMemory:
    """The interactions of some rows.

    Args:
        held: the rows; the list is emptied, so that their ids are freed when they are encoded.
        left_times_out: see `settle.settle`.
    """
    columns = dict(vars(held.pop()))
    names, values, left_out = columns.pop("names"), columns.pop("values"), columns.pop("left_out")
    users, user_table = encoded(columns.pop("users"), names.get("user", ()), "user")
    items, item_table = encoded(columns.pop("items"), names.get("item", ()), "item")
    times = columns.pop("times")
    rows = settle.Columns(users=users, items=items, values=values, times=times)
    sizes = len(user_table.ids), len(item_table.ids)
    found = settle.settle(rows, *sizes, threshold=threshold, rule=rule, order=order, left_times_out=left_times_out)
    facts = Facts(
        rows_read=len(users) + left_out,
        rows_overridden=found.overridden,
        rated_down=found.rated_down,
        rows_below=found.rows_below,
        rows_left_out=left_out,
    )
    in_file = None
    if order == FILE:
        high = settle.is_positive(values, threshold)
        in_file = (users, items) if high is None else (users[high], items[high])
    return EventsInMemory(
        block=found.block, user_ids=user_table.ids, item_ids=item_table.ids, facts=facts, in_file=in_file
    )
