"""What every split gives: training interactions, held-out ones, and the ids behind the indices.

Shape legend: U users, I items, X items that only held-out users have, S held-out rows, N negatives of each.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.split.matrix import Matrix


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Two matrices over the same rows: what the model sees, and what it has to find. Both [S, I]."""

    fold_in: Matrix
    fold_out: Matrix
    user_ids: pa.Array
    """[S]"""
    train_rows: npt.NDArray[np.int32] | None = None
    """[S] rows of the training matrix; None for users who are not in it."""
    candidates: npt.NDArray[np.int32] | None = None
    """[S, 1 + N] the item to be found, then sampled negatives (leave-one-out)."""
    extra: Matrix | None = None
    """[S, X] the users' items that no training user has; None where held-out users are training users."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The divided data. Every matrix has the same I columns."""

    train: Matrix
    train_user_ids: pa.Array
    valid: HeldOut
    test: HeldOut
    item_ids: pa.Array
    """[I] original id of each column."""
    counts: dict[str, int]
    extra_item_ids: pa.Array | None = None
    """[X] original ids of the columns of `HeldOut.extra`."""
    notes: tuple[str, ...] = ()
    """Sentences for the owner of the data."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More for the manifest, as the moments of a split by time."""


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A named child of the root seed: the same name gives the same stream, another name an independent one."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),)))
