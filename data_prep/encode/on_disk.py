"""Interactions on disk: those of the users of a bucket, and those of all users in one file.

Shape legend: U users, I items, E interactions, B users of a bucket.
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
from data_prep.encode.events import Block, Facts
from data_prep.encode.ids import IdTable, one_array
from data_prep.split import segments
from data_prep.split.matrix import offsets, take_rows


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The interactions of the users of one bucket, on disk. Only the place is passed among ranks."""

    place: Path
    times_type: str
    """"" without times."""

    def file(self, part: str) -> Path:
        """One of its files: users, indptr, items, times."""
        return self.place.with_suffix(f".{part}")

    def write(self, users: pa.Array, block: Block) -> None:
        """Write all of it.

        Args:
            users: [B] ids, ascending.
        """
        table, content = pa.table({"id": users}), pa.BufferOutputStream()
        with pa.ipc.new_file(content, table.schema) as file:
            file.write_table(table)
        self.file("users").write_bytes(content.getvalue())
        write_array(self.file("indptr"), block.indptr)
        write_array(self.file("items"), block.items)
        if block.times is not None:
            write_array(self.file("times"), block.times)

    def users(self) -> pa.Array:
        """[B] ids, ascending."""
        with pa.OSFile(str(self.file("users")), "rb") as source:
            return one_array(pa.ipc.open_file(source).read_all()["id"].chunks)

    def lengths(self) -> npt.NDArray[np.int64]:
        """[B] interactions of each user."""
        return np.diff(np.fromfile(self.file("indptr"), np.int64))

    def some(self, start: int, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray | None]:
        """Items and times of some interactions."""
        items = np.fromfile(self.file("items"), np.int32, count, offset=4 * start)
        if not self.times_type:
            return items, None
        kind = np.dtype(self.times_type)
        return items, np.fromfile(self.file("times"), kind, count, offset=kind.itemsize * start)

    def remove(self) -> None:
        """Remove its files."""
        for part in ("users", "indptr", "items", "times"):
            self.file(part).unlink(missing_ok=True)


def write_array(path: Path, array: npt.NDArray, mode: str = "wb") -> None:
    """Write the bytes of an array; a full disk is an OSError that says so (that of `ndarray.tofile` does not)."""
    with path.open(mode) as file:
        file.write(np.ascontiguousarray(array).data)


class EventsOnDisk:
    """`Events` whose interactions lie in one file on disk, those of the first user first."""

    def __init__(
        self,
        folder: Path,
        buckets: Sequence[Bucket],
        *,
        items: IdTable,
        facts: Facts,
        block_events: int,
        has_times: bool,
    ) -> None:
        """Bring the users of all buckets in order; the buckets are removed."""
        self.item_ids, self.facts, self.has_times = items.ids, facts, has_times
        self._block_events = block_events
        self._items, self._times = folder / "events.items", folder / "events.times"
        self._times_type = np.result_type(*(b.times_type for b in buckets)) if buckets and has_times else None
        lengths, places = self._users_of(buckets)
        self._indptr = offsets(lengths)
        write_array(self._items, np.empty(0, np.int32))
        write_array(self._times, np.empty(0, np.int32))
        if buckets:
            self._bring_in_order(buckets, places)

    def _users_of(self, buckets: Sequence[Bucket]) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int32]]]:
        """[U] interactions of each user; and for each bucket where its users stand among all of them."""
        parts = [b.users() for b in buckets]
        every = one_array(parts or [pa.array([], pa.int64())])
        sizes = [len(part) for part in parts]
        del parts
        order = pc.sort_indices(every).to_numpy()
        self.user_ids = every.take(pa.array(order))
        del every
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        lengths = np.concatenate([*(b.lengths() for b in buckets), np.empty(0, np.int64)])[order]
        return lengths, np.split(place, np.cumsum(sizes)[:-1])

    def _bring_in_order(self, buckets: Sequence[Bucket], places: Sequence[npt.NDArray[np.int32]]) -> None:
        """Write the interactions of all buckets, in the order of all users."""
        starts = [offsets(b.lengths()) for b in buckets]
        with progress.bar("merging", self.count, "event") as bar:
            for first, end in segments.pieces(self._indptr, self._block_events):
                items, times = self._of_users(first, end, buckets, places, starts)
                write_array(self._items, items, "ab")
                if times is not None:
                    write_array(self._times, times, "ab")
                bar.update(len(items))
        for bucket in buckets:
            bucket.remove()

    def _of_users(
        self,
        first: int,
        end: int,
        buckets: Sequence[Bucket],
        places: Sequence[npt.NDArray[np.int32]],
        starts: Sequence[npt.NDArray[np.int64]],
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray | None]:
        """Items and times of consecutive users.

        Args:
            starts: for each bucket where the interactions of its users begin, and the end.
        """
        users, lengths, items, times = [], [], [], []
        for bucket, mine, indptr in zip(buckets, places, starts, strict=True):
            low, high = np.searchsorted(mine, np.array([first, end], np.int32))
            if low < high:
                own_items, own_times = bucket.some(int(indptr[low]), int(indptr[high] - indptr[low]))
                users.append(mine[low:high])
                lengths.append(np.diff(indptr[low : high + 1]))
                items.append(own_items)
                times += [] if own_times is None else [own_times]
        order = np.argsort(np.concatenate(users))
        borders = offsets(np.concatenate(lengths))
        ordered = take_rows(borders, np.concatenate(items), order)
        if self._times_type is None:
            return ordered, None
        del items
        return ordered, take_rows(borders, np.concatenate(times), order).astype(self._times_type, copy=False)

    @property
    def count(self) -> int:
        """Interactions."""
        return int(self._indptr[-1])

    def blocks(self) -> Iterator[Block]:
        """All users in order, by blocks of at most `block_events` interactions (or one user)."""
        for first, end in segments.pieces(self._indptr, self._block_events):
            start, count = int(self._indptr[first]), int(self._indptr[end] - self._indptr[first])
            yield Block(
                first=first,
                indptr=self._indptr[first : end + 1] - start,
                items=np.fromfile(self._items, np.int32, count, offset=4 * start),
                times=None if self._times_type is None else self._times_of(start, count),
            )

    def _times_of(self, start: int, count: int) -> npt.NDArray:
        assert self._times_type is not None
        return np.fromfile(self._times, self._times_type, count, offset=self._times_type.itemsize * start)
