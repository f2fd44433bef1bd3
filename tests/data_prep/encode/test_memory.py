"""What the constants promise: bytes for a row that is settled, and for an interaction that is divided."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_prep.encode import external, gather, ids, on_disk, settle
from data_prep.encode.events import FILE, ORDERS, TIME, Block, Facts
from data_prep.encode.gather import Part
from data_prep.split import by_time, filters, leave_one_out, matrix, per_user, segments, users
from data_prep.split.matrix import offsets
from data_prep.split.rules import SplitRules

COUNT, USERS, ITEMS = 200_000, 4000, 2000
OF_USER = 100
"""Bytes for a user, which do not depend on the blocks."""
FIXED = 12 << 20
"""Bytes for pieces and buffers of a fixed size."""


def _peak(work: Callable[[], object]) -> int:
    """Bytes of NumPy and Python at the most, besides those that were there."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _part(repeats: int) -> Part:
    """Rows with ids and times of 64 bits; each pair about so many times."""
    rng = np.random.default_rng(0)
    who, what = (np.resize(rng.integers(0, n, COUNT // repeats), COUNT) for n in (USERS, ITEMS))
    order = rng.permutation(COUNT)
    return Part(
        users=who[order] * (10**12 + 7), items=what[order], values=rng.random(COUNT) < 0.8,
        times=rng.integers(0, 2**45, COUNT),
    )  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("repeats", [1, 2, 10])
def test_rows_in_memory(repeats: int, order: str) -> None:
    held = [_part(repeats)]
    columns = sum(getattr(held[0], name).nbytes for name in gather.COLUMNS)
    peak = _peak(lambda: gather.in_memory(held, rule=settle.LATEST, threshold=0, order=order))
    assert columns + peak < gather.ROW_BYTES * COUNT + FIXED
    assert order != FILE or peak > 10 * COUNT  # it is measured at all


@pytest.mark.parametrize("repeats", [1, 2])
def test_rows_of_a_bucket(repeats: int, tmp_path: Path) -> None:
    held = [_part(repeats)]
    columns = sum(getattr(held[0], name).nbytes for name in gather.COLUMNS)
    items = ids.table_of_keys(held[0].items)
    place = tmp_path / "bucket-0000"

    def work() -> None:
        external._settled(held, items, place, settle.LATEST, 0.0, TIME)

    assert columns + _peak(work) < external.ROW_BYTES * COUNT + FIXED
    bucket = on_disk.Bucket(place=place, times_type="<i8")
    events = int(bucket.lengths().sum())

    def merge() -> None:
        on_disk.EventsOnDisk(
            tmp_path, [bucket], items=items, facts=Facts(rows_read=1), block_events=2**40, has_times=True
        )

    assert _peak(merge) < external.EVENT_BYTES * events + OF_USER * USERS + FIXED


class _OneBlock:
    """Events that come as one block, new in each pass."""

    def __init__(self, has_times: bool) -> None:
        rng = np.random.default_rng(1)
        pairs = np.unique(rng.integers(0, USERS * ITEMS, COUNT))
        self._indptr = offsets(np.bincount(pairs // ITEMS, minlength=USERS))
        self._items = (pairs % ITEMS).astype(np.int32)
        self._times = segments.sorted_by(self._indptr, rng.integers(0, 2**45, len(pairs)))[0] if has_times else None
        self.has_times, self.count = has_times, len(pairs)
        self.user_ids, self.item_ids = pa.array(np.arange(USERS)), pa.array(np.arange(ITEMS))
        self.facts = Facts(rows_read=len(pairs))

    def blocks(self) -> Iterator[Block]:
        times = None if self._times is None else self._times.copy()
        yield Block(first=0, indptr=self._indptr.copy(), items=self._items.copy(), times=times)


SPLITS: dict[str, tuple[bool, Any, dict[str, Any]]] = {
    "users": (False, users.split, {}),
    "leave-one-out": (True, leave_one_out.split, {"negatives": 1}),
    "leave-one-out by chance": (False, leave_one_out.split, {"negatives": 1, "min_item_users": 98}),
    "time": (True, by_time.split, {"max_user_items": 45}),
    "per-user": (False, per_user.split, {"max_user_items": 45, "min_item_users": 98}),
    "per-user, latest": (True, per_user.split, {"choice": "latest", "k_core": 46}),
}


@pytest.mark.parametrize("name", SPLITS)
def test_interactions_of_a_block(name: str, tmp_path: Path) -> None:
    has_times, split, given = SPLITS[name]
    events, rules = _OneBlock(has_times), SplitRules(protocol=name.split()[0].strip(","), **given)
    peak = _peak(lambda: split(filters.filtered(events, rules), rules, scratch=tmp_path))
    assert peak < external.EVENT_BYTES * events.count + OF_USER * USERS + FIXED


def test_a_rank_has_its_part_of_the_memory() -> None:
    base, row = external.BASE_BYTES, external.ROW_BYTES
    for rows, memory, ranks in ((10**9, 2 << 30, 1), (2 * 10**8, 4 << 30, 4), (10**6, 1 << 30, 2)):
        buckets = external.bucket_count(rows, row, memory, ranks)
        assert buckets >= ranks
        assert ranks * (base + rows / buckets * row) <= memory
    assert external.bucket_count(0, row, 1 << 30, 1) == external.UNKNOWN_BUCKETS
    assert external.bucket_count(10**12, row, 1 << 30, 1) == external.MOST_BUCKETS


def _mapped() -> int:
    """Bytes of files that are mapped into this process and in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssFile:"):
            return int(line.split()[1]) << 10
    return 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_pages_of_a_matrix_in_a_file_are_released(tmp_path: Path) -> None:
    builder = matrix.Builder(ITEMS, tmp_path / "m")
    builder.append(np.array([10_000_000]), np.resize(np.arange(ITEMS, dtype=np.int32), 10_000_000))
    built = builder.finished()
    before = _mapped()
    assert built.indices.sum() > 0
    assert _mapped() - before > 30 << 20
    counts = built.item_counts()
    assert _mapped() - before < 10 << 20
    assert counts.tolist() == [5000] * ITEMS
    matrix.release(np.arange(3))
