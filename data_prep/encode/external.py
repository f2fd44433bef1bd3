"""Reading a source that need not fit into memory: rows go to buckets on disk, and each bucket is settled by itself.

The result is the same for any number of ranks and any memory. What is in memory: the rows of one bucket of each rank,
the ids of users and items, and eight numbers for each user. Shape legend: U users, I items, E interactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep import progress
from data_prep.encode import settle, spool
from data_prep.encode.events import Block, Facts
from data_prep.encode.gather import Part, Readable, Use
from data_prep.encode.ids import IdTable, encoded
from data_prep.parallel import Ranks
from data_prep.read.rows import Names
from data_prep.read.source import read_all
from data_prep.split.matrix import offsets, take_rows

ROW_BYTES = 160
"""Memory for a row of a bucket that is being settled."""
EVENT_BYTES = 120
"""Memory for an interaction of a block that is being divided."""
BASE_BYTES = 400 << 20
"""Memory of the program itself and of the blocks that are being read."""
LEAST_MEMORY = 512 << 20
MOST_BUCKETS = 512


@dataclass(frozen=True, kw_only=True)
class _Bucket:
    """The interactions of the users of one bucket, on disk."""

    users: pa.Array
    """[B] ids, ascending."""
    indptr: npt.NDArray[np.int64]
    """[B + 1]"""
    items: Path
    times: Path | None
    times_type: str

    def some(self, start: int, end: int) -> tuple[npt.NDArray[np.int32], npt.NDArray | None]:
        """Items and times of some users."""
        first, count = int(self.indptr[start]), int(self.indptr[end] - self.indptr[start])
        items = np.fromfile(self.items, np.int32, count, offset=4 * first)
        if self.times is None:
            return items, None
        kind = np.dtype(self.times_type)
        return items, np.fromfile(self.times, kind, count, offset=kind.itemsize * first)


class EventsOnDisk:
    """`Events` whose interactions lie in buckets on disk."""

    def __init__(self, buckets: Sequence[_Bucket], items: IdTable, facts: Facts, block_events: int) -> None:
        self.item_ids, self.facts = items.ids, facts
        self._buckets, self._block_events = buckets, block_events
        self.has_times = any(b.times is not None for b in buckets)
        every = pa.chunked_array([b.users for b in buckets]).combine_chunks()
        order = pc.sort_indices(every).to_numpy()
        self.user_ids = every.take(pa.array(order))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        self._places = np.split(place, np.cumsum([len(b.users) for b in buckets])[:-1])
        lengths = np.concatenate([np.diff(b.indptr) for b in buckets])[order]
        self._indptr = offsets(lengths)

    @property
    def count(self) -> int:
        """Interactions."""
        return int(self._indptr[-1])

    def blocks(self) -> Iterator[Block]:
        """All users in order, by blocks of at most `block_events` interactions (or one user)."""
        first, users = 0, len(self._indptr) - 1
        while first < users:
            end = int(np.searchsorted(self._indptr, self._indptr[first] + self._block_events, side="right")) - 1
            end = max(end, first + 1)
            yield self._block(first, end)
            first = end

    def _block(self, first: int, end: int) -> Block:
        places, lengths, items, times = [], [], [], []
        for bucket, mine in zip(self._buckets, self._places, strict=True):
            low, high = np.searchsorted(mine, [first, end])
            if low == high:
                continue
            own_items, own_times = bucket.some(int(low), int(high))
            places.append(mine[low:high])
            lengths.append(np.diff(bucket.indptr[low : high + 1]))
            items.append(own_items)
            times.append(own_times)
        order = np.argsort(np.concatenate(places))
        starts = offsets(np.concatenate(lengths))
        known = [t for t in times if t is not None]
        return Block(
            first=first,
            indptr=self._indptr[first : end + 1] - self._indptr[first],
            items=take_rows(starts, np.concatenate(items), order),
            times=take_rows(starts, np.concatenate(known), order) if known else None,
        )


def bucket_count(rows: int, memory: int, ranks: int) -> int:
    """Buckets, so that the rows of one fit into a rank's part of the memory twice over; 0 rows: not known."""
    room = max(memory - BASE_BYTES * ranks, memory // 4) // ranks
    if not rows:
        return 128
    return int(min(MOST_BUCKETS, max(ranks, -(-2 * rows * ROW_BYTES // room))))


def gather(
    source: Readable, ranks: Ranks, folder: Path, *, threshold: float, order: str, memory: int
) -> EventsOnDisk | None:
    """The interactions of a source on rank 0, None elsewhere.

    Args:
        folder: where the buckets lie; every rank sees it.
        threshold: rows with a value above it are positive.
        order: one of `events.ORDERS`, not FILE.
        memory: bytes that all ranks together may take.

    Raises:
        ValueError: the source is broken.
    """
    rule = settle.RULES[source.schema.kind]
    buckets = ranks.share(bucket_count(source.rows_estimate(), memory, ranks.size))
    use = Use(rule=rule, threshold=threshold)
    rows = read_all(source, lambda: _spooled(source, ranks, use, folder, buckets), ranks.agree)
    found = ranks.gather(rows.items.found())
    items: IdTable = ranks.share(spool.item_table(found) if ranks.is_first else None)
    mine, facts = [], []
    numbers = range(ranks.rank, buckets, ranks.size)
    with progress.bar("sorting", len(numbers), "bucket") as bar:
        for number in numbers:
            part = spool.rows_of(folder, number, ranks.size)
            bar.update(1)
            if len(part.users):
                bucket, found_out = _settled(part, items, folder / f"bucket-{number:04d}", rule, threshold, order)
                mine.append((number, bucket))
                facts.append(found_out)
    every = ranks.gather((mine, facts, rows.rows, rows.left_out))
    if not ranks.is_first:
        return None
    read, left_out = sum(r for *_, r, _ in every), sum(n for *_, n in every)
    return EventsOnDisk(
        [b for _, b in sorted((b for own, *_ in every for b in own), key=lambda pair: pair[0])],
        items,
        _sum([f for _, own, *_ in every for f in own], read + left_out, left_out),
        max(1 << 16, max(memory - BASE_BYTES, memory // 4) // EVENT_BYTES),
    )


def _spooled(source: Readable, ranks: Ranks, use: Use, folder: Path, buckets: int) -> spool.Spool:
    """The rows of this rank, in buckets on disk."""
    rows = spool.Spool(folder, buckets, ranks.rank)
    try:
        for part in source.read(ranks.rank, ranks.size, use):
            rows.append(part)
    finally:
        rows.close()
    return rows


def _settled(part: Part, items: IdTable, place: Path, rule: str, threshold: float, order: str) -> tuple[_Bucket, Facts]:
    """The interactions of a bucket, written to disk, and what was found about its rows."""
    names: Sequence[Names] = part.names.get("user", ())
    users, table = encoded(part.users, names, "user")
    columns = settle.Columns(users=users, items=items.codes(part.items), values=part.values, times=part.times)
    del part
    found = settle.settle(columns, len(table.ids), len(items.ids), threshold=threshold, rule=rule, order=order)
    block = found.block
    bucket = _Bucket(
        users=table.ids,
        indptr=block.indptr,
        items=place.with_suffix(".items"),
        times=None if block.times is None else place.with_suffix(".times"),
        times_type="" if block.times is None else block.times.dtype.str,
    )
    block.items.tofile(bucket.items)
    if block.times is not None and bucket.times is not None:
        block.times.tofile(bucket.times)
    return bucket, Facts(
        rows_read=len(users), rows_overridden=found.overridden, rated_down=found.rated_down, rows_below=found.rows_below
    )


def _sum(facts: Sequence[Facts], rows_read: int, left_out: int) -> Facts:
    return Facts(
        rows_read=rows_read,
        rows_overridden=sum(f.rows_overridden for f in facts),
        rated_down=sum(f.rated_down for f in facts),
        rows_below=sum(f.rows_below for f in facts),
        rows_left_out=left_out,
    )
