"""A digest of columns that does not depend on the blocks in which they come."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read import ids


class Contents:
    """SHA-256 over the values of some columns, in order of rows."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sums = {field.name: _Column(field) for field in schema}

    def add(self, table: pa.Table) -> None:
        """The next rows."""
        for name, column in self._sums.items():
            for chunk in ids.plain(table[name]).chunks:
                column.add(chunk)

    def digest(self) -> str:
        """Hexadecimal."""
        return hashlib.sha256("".join(column.digest() for column in self._sums.values()).encode()).hexdigest()


class _Column:
    """What is there, and the values of fixed width or the lengths and bytes of texts."""

    def __init__(self, field: pa.Field) -> None:
        self._there = hashlib.sha256(f"{field.name}:{field.type}".encode())
        self._values, self._bytes = hashlib.sha256(), hashlib.sha256()

    def add(self, chunk: pa.Array) -> None:
        self._there.update(chunk.is_null().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
        if not ids.is_text(chunk.type):
            kind = chunk.type
            chunk = chunk if pa.types.is_integer(kind) or pa.types.is_floating(kind) else _simple(chunk)
        if ids.is_text(chunk.type):
            chunk = pc.fill_null(chunk, "")
            self._values.update(pc.binary_length(chunk).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
            self._bytes.update(_joined(chunk))
        else:
            self._values.update(pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False).tobytes())

    def digest(self) -> str:
        return "".join(part.hexdigest() for part in (self._there, self._values, self._bytes))


def _simple(chunk: pa.Array) -> pa.Array:
    """Booleans and times as whole numbers, other values as texts."""
    if pa.types.is_boolean(chunk.type):
        return chunk.cast(pa.int8())
    if pa.types.is_timestamp(chunk.type):
        return chunk.cast(pa.int64())
    return chunk.cast(pa.string())


def _joined(texts: pa.StringArray) -> Any:
    """The bytes of all texts, one after another."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
