"""Rows on disk, in buckets by user: all rows of a user are in one bucket, in the order of the source.

Each rank appends to files of its own, and every rank can read the files of all. Names of users lie with their rows;
items and their names are kept in memory, once each. Shape legend: R rows, N names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.encode.gather import COLUMNS, Part, joined
from data_prep.encode.ids import SEEN_AT_ONCE, IdTable, NamesSeen, merged, table_of, table_of_keys
from data_prep.read.rows import Keys, Names
from data_prep.split.matrix import offsets

_HEADER = struct.Struct("<qq4s4s4s4s")
"""Rows, names, and the type of each column (blank where there is none)."""
HELD_BYTES = 32 << 20
"""Bytes of rows that are written at once."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


def bucket_of(users: Keys, buckets: int) -> npt.NDArray[np.uint16]:
    """[R] the bucket of each user."""
    mixed = (users.astype(np.int64).view(np.uint64) * _MIX) >> np.uint64(33)
    return (mixed % np.uint64(buckets)).astype(np.uint16)


class Spool:
    """The files of one rank."""

    def __init__(self, folder: Path, buckets: int, rank: int) -> None:
        """Begin anew: what an earlier spool of the rank wrote is removed."""
        self._folder, self.buckets, self._rank = folder, buckets, rank
        for file in folder.glob(_name("*", rank)):
            file.unlink()
        self._held: list[Part] = []
        self._held_bytes = 0
        self.items = ItemsSeen()
        self.rows = 0
        self.left_out = 0

    def append(self, part: Part) -> None:
        """Add rows that follow all before."""
        self.rows += len(part.users)
        self.left_out += part.left_out
        self.items.add(part.items, part.names.get("item", ()))
        users = part.names.get("user", [])
        self._held.append(replace(part, names={"user": users} if users else {}))
        self._held_bytes += sum(c.nbytes for c in _columns(part) if c is not None)
        self._held_bytes += sum(names.keys.nbytes + names.texts.nbytes for names in users)
        if self._held_bytes >= HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write everything to disk."""
        part = joined(self._held)  # empties the list
        self._held_bytes = 0
        order, ends = _by_bucket(part.users, self.buckets)
        columns = [None if column is None else column[order] for column in _columns(part)]
        names, of_names = None, np.zeros(self.buckets + 1, np.int64)
        if part.names.get("user"):
            names = merged(part.names["user"], "user")
            by_bucket, of_names = _by_bucket(names.keys, self.buckets)
            names = Names(keys=names.keys[by_bucket], texts=names.texts.take(pa.array(by_bucket)))
        for b in np.flatnonzero(np.diff(ends)):
            mine = slice(int(ends[b]), int(ends[b + 1]))
            own = None if names is None else _slice(names, int(of_names[b]), int(of_names[b + 1]))
            with (self._folder / _name(f"{b:04d}", self._rank)).open("ab") as file:
                _write(file, [None if c is None else c[mine] for c in columns], own)


def _columns(part: Part) -> list[npt.NDArray | None]:
    return [getattr(part, name) for name in COLUMNS]


def _by_bucket(keys: Keys, buckets: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The order of the rows by bucket, stable; and where each bucket begins [buckets + 1]."""
    bucket = bucket_of(keys, buckets)
    return np.argsort(bucket, kind="stable"), offsets(np.bincount(bucket, minlength=buckets))


class ItemsSeen:
    """The distinct items of all rows so far."""

    def __init__(self) -> None:
        self._keys: list[Keys] = []
        self._names = NamesSeen("item")
        self._added = self._kept = 0

    def add(self, keys: Keys, names: Sequence[Names]) -> None:
        """Add the items of some rows."""
        if names:
            self._names.add(names)
            return
        self._keys.append(np.unique(keys))
        self._added += len(self._keys[-1])
        if self._added > 2 * self._kept + SEEN_AT_ONCE:
            self._keys = [np.unique(np.concatenate(self._keys))]
            self._added = self._kept = len(self._keys[0])

    def found(self) -> tuple[npt.NDArray[np.int64], Names | None]:
        """All keys, or all names."""
        if names := self._names.found():
            return names[0].keys, names[0]
        return np.unique(np.concatenate([*self._keys, np.empty(0, np.int32)])).astype(np.int64), None


def item_table(found: list[tuple[npt.NDArray[np.int64], Names | None]]) -> IdTable:
    """The items of all ranks."""
    names = [part for _, part in found if part is not None]
    return table_of(names, "item") if names else table_of_keys(np.concatenate([keys for keys, _ in found]))


def _name(bucket: str, rank: int) -> str:
    return f"rows-{bucket}-{rank:04d}"


def _slice(names: Names, start: int, end: int) -> Names:
    return Names(keys=names.keys[start:end], texts=names.texts.slice(start, end - start))


def _write(file: IO[bytes], columns: list[npt.NDArray | None], names: Names | None) -> None:
    kinds = [b"    " if c is None else c.dtype.str.encode().ljust(4) for c in columns]
    rows = len(columns[0]) if columns[0] is not None else 0
    file.write(_HEADER.pack(rows, -1 if names is None else len(names.keys), *kinds))
    for column in columns:
        if column is not None:
            file.write(np.ascontiguousarray(column).data)
    if names is not None:
        texts = names.texts.cast(pa.large_binary())
        starts = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        file.write(names.keys.astype(np.int64).data)
        file.write((starts - starts[0]).data)
        content = texts.buffers()[2]
        file.write(memoryview(content)[starts[0] : starts[-1]] if content is not None else b"")


def _frames(path: Path) -> Iterator[Part]:
    with path.open("rb") as file:
        while header := file.read(_HEADER.size):
            rows, count, *kinds = _HEADER.unpack(header)
            columns: dict[str, Any] = {
                name: None if kind == b"    " else _read(file, np.dtype(kind.decode().strip()), rows)
                for name, kind in zip(COLUMNS, kinds, strict=True)
            }
            names = {} if count < 0 else {"user": [_read_names(file, count)]}
            yield Part(**columns, names=names)


def _read(file: IO[bytes], kind: np.dtype, count: int) -> npt.NDArray:
    content = bytearray(count * kind.itemsize)
    file.readinto(content)  # type: ignore[attr-defined]
    return np.frombuffer(content, kind)


def _read_names(file: IO[bytes], count: int) -> Names:
    keys = _read(file, np.dtype(np.int64), count)
    starts = _read(file, np.dtype(np.int64), count + 1)
    content = file.read(int(starts[-1]))
    texts = pa.Array.from_buffers(pa.large_string(), count, [None, pa.py_buffer(starts), pa.py_buffer(content)])
    return Names(keys=keys, texts=texts)


def rows_of(folder: Path, bucket: int, ranks: int) -> Part:
    """The rows of a bucket, of all ranks; its files are removed."""
    files = [folder / _name(f"{bucket:04d}", rank) for rank in range(ranks)]
    part = joined([frame for file in files if file.exists() for frame in _frames(file)])
    for file in files:
        file.unlink(missing_ok=True)
    return part
