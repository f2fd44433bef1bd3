"""Ids of any type to indices: whole numbers are their own keys, the keys of texts are hashes.

Indices ascend with the ids: numbers by size, texts by their code points. Shape legend: R rows, N distinct ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read.rows import Keys, Names

MOST = 2**31 - 2
"""Indices are int32 on disk, and their number has to be too."""


@dataclass(frozen=True, kw_only=True)
class IdTable:
    """Distinct ids in ascending order."""

    ids: pa.Array
    """[N] int64 or string."""
    keys: npt.NDArray[np.int64]
    """[N]"""

    def codes(self, keys: Keys) -> npt.NDArray[np.int32]:
        """[R] the index of each key, all of which are in the table."""
        return pd.Index(self.keys).get_indexer(np.asarray(keys, np.int64)).astype(np.int32)


def encoded(keys: Keys, names: Sequence[Names], kind: str) -> tuple[npt.NDArray[np.int32], IdTable]:
    """[R] the index of each row's id, and the ids.

    Args:
        names: the texts behind the keys, in parts that may repeat; none where ids are whole numbers.
        kind: "user" or "item", for messages.

    Raises:
        ValueError: more ids than indices, or two texts of one key.
    """
    codes, distinct = _factorized(keys)
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
    return IdTable(ids=every.texts.take(order), keys=every.keys[order.to_numpy()])


def table_of_keys(keys: Keys) -> IdTable:
    """The distinct whole numbers."""
    distinct = np.unique(keys).astype(np.int64)
    return IdTable(ids=pa.array(distinct), keys=distinct)


def merged(names: Sequence[Names], kind: str) -> Names:
    """All names once, in ascending order of their keys.

    Raises:
        ValueError: two texts have one key.
    """
    keys = np.concatenate([part.keys for part in names])
    texts = pa.chunked_array([part.texts for part in names], pa.string()).combine_chunks()
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


def _factorized(keys: Keys) -> tuple[npt.NDArray[np.int32], Keys]:
    """[R] the rank of each key among the distinct ones, and these, ascending."""
    if not len(keys):
        return np.empty(0, np.int32), keys
    low, high = int(keys.min()), int(keys.max())
    if high - low < 4 * keys.size + (1 << 20):  # a table of that many flags is cheaper than a hash table
        present = np.zeros(high - low + 1, bool)
        shifted = keys if low == 0 else keys - low
        present[shifted] = True
        rank = np.cumsum(present, dtype=np.int64) - 1
        distinct = np.flatnonzero(present) + low
        _check_number(len(distinct))
        return rank.astype(np.int32)[shifted], distinct
    codes, distinct = pd.factorize(keys)
    _check_number(len(distinct))
    order = np.argsort(distinct)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[codes], distinct[order]


def _check_number(count: int) -> None:
    if count > MOST:
        raise ValueError(f"there are {count:,} distinct ids, {MOST:,} at most can be numbered")
