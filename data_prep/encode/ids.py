"""Ids of any type to indices: whole numbers are their own keys, the keys of texts are hashes.

Indices ascend with the ids: numbers by size, texts by their code points. Shape legend: R rows, N distinct ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read.rows import Keys, Names

MOST = 2**31 - 2
"""Indices are int32 on disk, and their number has to be too."""
MOST_TEXT = 2**31 - 1
"""Bytes of the texts of one Arrow string array; more need the type large_string."""


@dataclass(frozen=True, kw_only=True)
class IdTable:
    """Distinct ids in ascending order."""

    ids: pa.Array
    """[N] int64 or string."""
    keys: npt.NDArray[np.int64]
    """[N]"""

    @cached_property
    def _by_key(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """[N] the keys in ascending order, and the index of each."""
        order = np.argsort(self.keys, kind="stable")
        return self.keys[order], order.astype(np.int32)

    def codes(self, keys: Keys) -> npt.NDArray[np.int32]:
        """[R] the index of each key, all of which are in the table."""
        codes, distinct = factorized(keys)
        ascending, index = self._by_key
        return index[np.searchsorted(ascending, distinct.astype(np.int64))][codes]


def encoded(keys: Keys, names: Sequence[Names], kind: str) -> tuple[npt.NDArray[np.int32], IdTable]:
    """[R] the index of each row's id, and the ids.

    Args:
        names: the texts behind the keys, in parts that may repeat; none where ids are whole numbers.
        kind: "user" or "item", for messages.

    Raises:
        ValueError: more ids than indices, or two texts of one key.
    """
    codes, distinct = factorized(keys)
    if not names:
        return codes, IdTable(ids=pa.array(distinct.astype(np.int64)), keys=distinct.astype(np.int64))
    table = table_of(names, kind)
    place = table.codes(distinct)
    return place[codes], table


def table_of(names: Sequence[Names], kind: str) -> IdTable:
    """The distinct texts of all parts.

    Raises:
        ValueError: two texts have one key.
    """
    every = merged(names, kind)
    order = pc.sort_indices(every.texts)
    return IdTable(ids=one_array([every.texts.take(order)]), keys=every.keys[order.to_numpy()])


def table_of_keys(keys: Keys) -> IdTable:
    """The distinct whole numbers."""
    distinct = np.unique(keys).astype(np.int64, copy=False)
    return IdTable(ids=pa.array(distinct), keys=distinct)


def merged(names: Sequence[Names], kind: str) -> Names:
    """All names once, in ascending order of their keys.

    Raises:
        ValueError: two texts have one key.
    """
    keys = np.concatenate([part.keys for part in names])
    texts = one_array([part.texts for part in names])
    distinct, first, owner = np.unique(keys, return_index=True, return_inverse=True)
    if len(distinct) == len(keys):
        return Names(keys=distinct, texts=texts.take(pa.array(first)))
    kept = texts.take(pa.array(first))
    same = pc.equal(texts, kept.take(pa.array(owner))).to_numpy(zero_copy_only=False)
    if not same.all():
        row = int(np.argmin(same))
        raise ValueError(
            f"the {kind} ids {texts[row].as_py()!r} and {kept[int(owner[row])].as_py()!r} have the same 64-bit hash "
            "and cannot be told apart; change one of them"
        )
    return Names(keys=distinct, texts=kept)


def one_array(parts: Sequence[pa.Array]) -> pa.Array:
    """All ids in one array: int64, string, or large_string where the texts have more than MOST_TEXT bytes."""
    if pa.types.is_int64(parts[0].type):
        return pa.concat_arrays(parts)
    size = sum(int(pc.sum(pc.binary_length(part)).as_py() or 0) for part in parts)
    kind = pa.large_string() if size > MOST_TEXT else pa.string()
    return pa.concat_arrays([part.cast(kind) for part in parts])


SEEN_AT_ONCE = 1 << 20
"""Keys or texts that are collected before those that repeat are removed."""


class NamesSeen:
    """The distinct texts of all rows so far, in memory about once."""

    def __init__(self, kind: str) -> None:
        """Begin without texts.

        Args:
            kind: "user" or "item", for messages.
        """
        self._kind, self._parts = kind, list[Names]()
        self._added = self._kept = 0

    def add(self, names: Sequence[Names]) -> None:
        """Add the texts of some rows.

        Raises:
            ValueError: two texts have one key.
        """
        self._parts += names
        self._added += sum(len(part.keys) for part in names)
        if self._added > 2 * self._kept + SEEN_AT_ONCE:
            self.found()

    def found(self) -> list[Names]:
        """All of them in one part; none where there were none."""
        if len(self._parts) > 1:
            self._parts = [merged(self._parts, self._kind)]
        self._added = self._kept = sum(len(part.keys) for part in self._parts)
        return self._parts


def factorized(keys: Keys) -> tuple[npt.NDArray[np.int32], Keys]:
    """[R] the rank of each key among the distinct ones, and these, ascending."""
    if not len(keys):
        return np.empty(0, np.int32), keys
    low, high = int(keys.min()), int(keys.max())
    if high - low < 4 * keys.size + (1 << 20):  # a table of that many flags is cheaper than a hash table
        present = np.zeros(high - low + 1, bool)
        shifted = keys if low == 0 else (keys if high - low < 2**31 else keys.astype(np.int64)) - low
        present[shifted] = True
        _check_number(int(np.count_nonzero(present)))
        rank = np.cumsum(present, dtype=np.int32)
        rank -= np.int32(1)
        return rank[shifted], np.flatnonzero(present) + low
    codes, distinct = pd.factorize(keys)
    _check_number(len(distinct))
    order = np.argsort(distinct)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[codes], distinct[order]


def _check_number(count: int) -> None:
    if count > MOST:
        raise ValueError(f"there are {count:,} distinct ids, {MOST:,} at most can be numbered")
