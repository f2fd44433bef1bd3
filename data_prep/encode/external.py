"""Reading a source that need not fit into memory: rows go to buckets on disk, and each bucket is settled by itself.

The result is the same for any number of ranks and any memory. What is in memory: the rows of one bucket of each rank,
the ids of users and items, and eight numbers for each user. Shape legend: U users, I items, E interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_prep import progress
from data_prep.encode import settle, spool
from data_prep.encode.events import ITEM, Facts
from data_prep.encode.gather import COLUMNS, Part, Readable, Use
from data_prep.encode.ids import IdTable, encoded, factorized
from data_prep.encode.on_disk import Bucket, EventsOnDisk
from data_prep.parallel import Ranks
from data_prep.read.source import read_all

ROW_BYTES, TEXT_BYTES = 80, 160
"""Memory for a row of a bucket that is being settled; and more where users are texts."""
EVENT_BYTES = 100
"""Memory for an interaction of a block that is being divided, at the most of all protocols."""
BASE_BYTES = 400 << 20
"""Memory of the program itself and of the blocks that are being read."""
LEAST_MEMORY = 512 << 20
MOST_BUCKETS, UNKNOWN_BUCKETS = 2048, 512
LEAST_EVENTS = 1 << 16
"""Interactions of a block at the least."""


def bucket_count(rows: int, row_bytes: int, memory: int, ranks: int) -> int:
    """Buckets, so that the rows of one fit into a rank's part of the memory twice over.

    Args:
        rows: about how many there are; 0: not known.
    """
    if not rows:
        return UNKNOWN_BUCKETS
    room = max(memory - BASE_BYTES * ranks, memory // 4) // ranks
    return int(min(MOST_BUCKETS, max(ranks, -(-2 * rows * row_bytes // room))))


def gather(
    source: Readable, ranks: Ranks, folder: Path, *, threshold: float, order: str, memory: int, rows: int | None = None
) -> EventsOnDisk | None:
    """The interactions of a source on rank 0, None elsewhere.

    Args:
        folder: where the buckets lie; every rank sees it.
        threshold: rows with a value above it are positive.
        order: one of `events.ORDERS`, not FILE.
        memory: bytes that all ranks together may take.
        rows: about how many there are (0: not known); by default as the source estimates.

    Raises:
        ValueError: the source is broken.
        OSError: the disk is full.
    """
    rule = settle.RULES[source.schema.kind]
    expected = source.rows_estimate() if rows is None else rows
    row_bytes = ROW_BYTES + TEXT_BYTES * pa.types.is_string(source.schema.types[source.schema.user])
    buckets = ranks.share(bucket_count(expected, row_bytes, memory, ranks.size))
    use = Use(rule=rule, threshold=threshold)
    spooled = read_all(source, lambda: _spooled(source, ranks, use, folder, buckets), ranks.agree)
    found = ranks.gather(spooled.items.found())
    items: IdTable = ranks.share(spool.item_table(found) if ranks.is_first else None)
    read, left_out = spooled.rows, spooled.left_out
    del found, spooled
    mine, facts = [], []
    numbers = range(ranks.rank, buckets, ranks.size)
    with progress.bar("sorting", len(numbers), "bucket") as bar:
        for number in numbers:
            part = spool.rows_of(folder, number, ranks.size)
            bar.update(1)
            if len(part.users):
                held = [part]
                del part
                bucket, found_out = _settled(held, items, folder / f"bucket-{number:04d}", rule, threshold, order)
                mine.append((number, bucket))
                facts.append(found_out)
    every = ranks.gather((mine, facts, read, left_out))
    if not ranks.is_first:
        return None
    rows_left_out = sum(n for *_, n in every)
    rows_read = sum(count for *_, count, _ in every) + rows_left_out
    return EventsOnDisk(
        folder,
        [b for _, b in sorted((b for own, *_ in every for b in own), key=lambda pair: pair[0])],
        items=items,
        facts=_sum([f for _, own, *_ in every for f in own], rows_read, rows_left_out),
        block_events=max(LEAST_EVENTS, max(memory - BASE_BYTES, memory // 4) // EVENT_BYTES),
        has_times=source.schema.time is not None and order != ITEM,
    )


def _spooled(source: Readable, ranks: Ranks, use: Use, folder: Path, buckets: int) -> spool.Spool:
    """The rows of this rank, in buckets on disk."""
    rows = spool.Spool(folder, buckets, ranks.rank)
    for part in source.read(ranks.rank, ranks.size, use):
        rows.append(part)
    rows.flush()
    return rows


def _settled(
    held: list[Part], items: IdTable, place: Path, rule: str, threshold: float, order: str
) -> tuple[Bucket, Facts]:
    """The interactions of a bucket, written to disk, and what was found about its rows.

    Args:
        held: the rows of the bucket; the list is emptied, so that their ids are freed when they are encoded.
    """
    part = held.pop()
    columns, names = {name: getattr(part, name) for name in COLUMNS}, part.names.get("user", ())
    del part
    users, table = encoded(columns.pop("users"), names, "user")
    own, known = factorized(items.codes(columns.pop("items")))  # a bucket has few of the items
    rows = settle.Columns(users=users, items=own, **columns)
    del columns
    found = settle.settle(rows, len(table.ids), len(known), threshold=threshold, rule=rule, order=order)
    block = replace(found.block, items=known.astype(np.int32)[found.block.items])
    bucket = Bucket(place=place, times_type="" if block.times is None else block.times.dtype.str)
    bucket.write(table.ids, block)
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
