"""Sparse 0/1 matrices in CSR form, built row by row in memory or in a file.

Shape legend: U rows (users), I columns (items), E entries.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from data_prep.split import segments

IntArray = npt.NDArray[np.integer]
CHUNK = 1 << 24
"""Entries that are handled at a time where a matrix lies in a file."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A CSR matrix [U, I] of ones; columns ascend within a row."""

    indptr: npt.NDArray[np.int64]
    """[U + 1]"""
    indices: npt.NDArray[np.int32]
    """[E]; a memory map where the matrix was built in a file."""
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        return int(self.indptr[-1])

    def item_counts(self) -> npt.NDArray[np.int64]:
        """[I] entries of each column."""
        counts = np.zeros(self.n_items, np.int64)
        for start in range(0, self.nnz, CHUNK):
            counts += np.bincount(self.indices[start : start + CHUNK], minlength=self.n_items)
            release(self.indices)
        return counts

    def rows(self, wanted: IntArray) -> Matrix:
        """Some rows, in the order of `wanted` [B]."""
        indptr = offsets(np.diff(self.indptr)[wanted])
        return Matrix(indptr=indptr, indices=take_rows(self.indptr, self.indices, wanted), n_items=self.n_items)


def release(array: npt.NDArray) -> None:
    """Drop the pages of a memory map that were read, which count as memory of the process; nothing for other arrays."""
    base: object = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    if base is not None and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)


def offsets(lengths: IntArray) -> npt.NDArray[np.int64]:
    """[U + 1] where each row begins, and the end."""
    result = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=result[1:])
    return result


def take_rows(indptr: IntArray, values: npt.NDArray, wanted: IntArray) -> npt.NDArray:
    """The values of some rows, one row after another."""
    starts, lengths = indptr[wanted], indptr[np.asarray(wanted) + 1] - indptr[wanted]
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return values[places]


def sort_rows(indptr: IntArray, items: npt.NDArray[np.int32], n_items: int = 0) -> npt.NDArray[np.int32]:
    """[E] the items of each row in ascending order.

    Args:
        n_items: not used; earlier versions needed it.
    """
    del n_items
    return segments.sorted_within(indptr, items)[0]


def from_pairs(rows: IntArray, items: IntArray, shape: tuple[int, int]) -> Matrix:
    """A matrix of distinct pairs in any order."""
    keys = np.sort(np.asarray(rows, np.int64) * shape[1] + items)
    owners = keys // max(shape[1], 1)
    lengths = np.bincount(owners, minlength=shape[0]) if len(keys) else np.zeros(shape[0], np.int64)
    return Matrix(indptr=offsets(lengths), indices=(keys - owners * shape[1]).astype(np.int32), n_items=shape[1])


class Builder:
    """Collects the rows of a matrix, in memory or, for matrices that need not fit there, in a file."""

    def __init__(self, n_items: int, file: Path | None = None) -> None:
        self._n_items, self._path = n_items, file
        self._lengths: list[IntArray] = []
        self._parts: list[npt.NDArray[np.int32]] = []
        self._file: IO[bytes] | None = None if file is None else file.open("wb")

    def append(self, lengths: IntArray, indices: npt.NDArray[np.int32]) -> None:
        """Add rows.

        Args:
            lengths: [B] entries of each.
            indices: [E] columns, ascending within a row.
        """
        self._lengths.append(np.asarray(lengths, np.int64))
        indices = np.ascontiguousarray(indices, np.int32)
        if self._file is None:
            self._parts.append(indices)
        else:
            self._file.write(indices.data)

    def finished(self) -> Matrix:
        """The matrix."""
        indptr = offsets(joined(self._lengths, np.int64))
        if self._file is None or self._path is None:
            return Matrix(indptr=indptr, indices=joined(self._parts, np.int32), n_items=self._n_items)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        indices = np.memmap(self._path, np.int32, "r") if indptr[-1] else np.empty(0, np.int32)
        return Matrix(indptr=indptr, indices=indices, n_items=self._n_items)


def joined(parts: Sequence[npt.NDArray], dtype: type) -> npt.NDArray:
    """One array; empty where there is no part."""
    return parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, dtype)])
