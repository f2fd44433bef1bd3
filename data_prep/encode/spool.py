"""Rows on disk, in buckets by user: all rows of a user are in one bucket, in the order of the source.

Each rank appends to files of its own, and every rank can read the files of all. Names of users lie with their rows;
items and their names are kept in memory, once each. Shape legend: R rows, N names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.encode.gather import COLUMNS, Part, joined
from data_prep.encode.ids import IdTable, merged, table_of, table_of_keys
from data_prep.read.rows import Keys, Names

_HEADER = struct.Struct("<qq4s4s4s4s")
"""Rows, names, and the type of each column (blank where there is none)."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


def bucket_of(users: Keys, buckets: int) -> npt.NDArray[np.uint16]:
    """[R] the bucket of each user."""
    mixed = (users.astype(np.int64).view(np.uint64) * _MIX) >> np.uint64(33)
    return (mixed % np.uint64(buckets)).astype(np.uint16)


class Spool:
    """The files of one rank."""

    def __init__(self, folder: Path, buckets: int, rank: int) -> None:
        self._folder, self.buckets, self._rank = folder, buckets, rank
        self._files: list[IO[bytes]] = [_file(folder, rank, b).open("wb", buffering=1 << 16) for b in range(buckets)]
        self.items = ItemsSeen()
        self.rows = 0
        self.left_out = 0

    def append(self, part: Part) -> None:
        """Add rows that follow all before."""
        self.rows += len(part.users)
        self.left_out += part.left_out
        self.items.add(part.items, part.names.get("item", ()))
        names = merged(part.names["user"], "user") if part.names.get("user") else None
        bucket = bucket_of(part.users, self.buckets)
        order = np.argsort(bucket, kind="stable")
        ends = np.searchsorted(bucket[order], np.arange(self.buckets + 1, dtype=np.uint16))
        columns = [getattr(part, name) for name in COLUMNS]
        columns = [None if column is None else column[order] for column in columns]
        of_names = None if names is None else bucket_of(names.keys, self.buckets)
        for b, (start, end) in enumerate(pairwise(ends)):
            if end > start:
                mine = None if names is None else _some(names, np.flatnonzero(of_names == b))
                _write(self._files[b], [None if c is None else c[start:end] for c in columns], mine)

    def close(self) -> None:
        """Write everything to disk."""
        for file in self._files:
            file.close()


class ItemsSeen:
    """The distinct items of all rows so far."""

    def __init__(self) -> None:
        self._keys: list[Keys] = []
        self._names: list[Names] = []
        self._added = self._kept = 0

    def add(self, keys: Keys, names: list[Names] | tuple[()]) -> None:
        """Add the items of some rows."""
        if names:
            self._names += names
            self._added += sum(len(part.keys) for part in names)
        else:
            distinct = np.unique(keys)
            self._keys.append(distinct)
            self._added += len(distinct)
        if self._added > 2 * self._kept + (1 << 20):
            self._compact()

    def _compact(self) -> None:
        if self._names:
            self._names = [merged(self._names, "item")]
            self._kept = len(self._names[0].keys)
        else:
            self._keys = [np.unique(np.concatenate(self._keys))]
            self._kept = len(self._keys[0])
        self._added = self._kept

    def found(self) -> tuple[npt.NDArray[np.int64], Names | None]:
        """All keys, or all names."""
        if not self._keys and not self._names:
            return np.empty(0, np.int64), None
        self._compact()
        if self._names:
            return self._names[0].keys, self._names[0]
        return self._keys[0].astype(np.int64), None


def item_table(found: list[tuple[npt.NDArray[np.int64], Names | None]]) -> IdTable:
    """The items of all ranks."""
    names = [part for _, part in found if part is not None]
    return table_of(names, "item") if names else table_of_keys(np.concatenate([keys for keys, _ in found]))


def _file(folder: Path, rank: int, bucket: int) -> Path:
    return folder / f"rows-{bucket:04d}-{rank:04d}"


def _some(names: Names, places: npt.NDArray[np.int64]) -> Names:
    return Names(keys=names.keys[places], texts=names.texts.take(pa.array(places)))


def _write(file: IO[bytes], columns: list[npt.NDArray | None], names: Names | None) -> None:
    kinds = [b"    " if c is None else c.dtype.str.encode().ljust(4) for c in columns]
    rows = len(columns[0]) if columns[0] is not None else 0
    file.write(_HEADER.pack(rows, -1 if names is None else len(names.keys), *kinds))
    for column in columns:
        if column is not None:
            file.write(np.ascontiguousarray(column).data)
    if names is not None:
        texts = names.texts.cast(pa.large_binary())
        offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        file.write(names.keys.astype(np.int64).data)
        file.write((offsets - offsets[0]).data)
        content = texts.buffers()[2]
        file.write(memoryview(content)[offsets[0] : offsets[-1]] if content is not None else b"")


def _frames(path: Path) -> Iterator[Part]:
    with path.open("rb") as file:
        while header := file.read(_HEADER.size):
            rows, count, *kinds = _HEADER.unpack(header)
            columns: dict[str, Any] = {
                name: None if kind == b"    " else np.fromfile(file, np.dtype(kind.decode().strip()), rows)
                for name, kind in zip(COLUMNS, kinds, strict=True)
            }
            names = {} if count < 0 else {"user": [_read_names(file, count)]}
            yield Part(**columns, names=names)


def _read_names(file: IO[bytes], count: int) -> Names:
    keys = np.fromfile(file, np.int64, count)
    offsets = np.fromfile(file, np.int64, count + 1)
    content = file.read(int(offsets[-1]))
    texts = pa.Array.from_buffers(pa.large_string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(content)])
    return Names(keys=keys, texts=texts.cast(pa.string()))


def rows_of(folder: Path, bucket: int, ranks: int) -> Part:
    """The rows of a bucket, of all ranks; its files are removed."""
    files = [_file(folder, rank, bucket) for rank in range(ranks)]
    part = joined([frame for file in files for frame in _frames(file)])
    for file in files:
        file.unlink()
    return part
