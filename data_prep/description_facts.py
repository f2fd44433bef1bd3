"""What a description of a data set says, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How many items the rows of a matrix have."""

    rows: int
    interactions: int
    least: int
    mean: float
    quantiles: Mapping[str, int]
    """Share of the rows, as "0.5" -> the smallest length that at least so many rows do not exceed."""
    largest: int
    bins: Sequence[tuple[int, int, int]]
    """(shortest, longest, rows) for lengths 0, 1, 2 to 3, 4 to 7, 8 to 15, ... from the least to the largest."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The most popular items."""

    share_of_items: float
    items: int
    """That share of all items, rounded up."""
    share_of_interactions: float
    """Of the training interactions."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The validation or the test."""

    of_training_users: bool
    """Whether its rows are lists of users who are in the training too."""
    shown: Lengths
    """The items that a model is shown (fold-in)."""
    to_be_found: Lengths
    candidates: int = 0
    """Length of every list of candidates with the item to be found, 0 where the whole catalogue is ranked."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a description says."""

    folder: str
    users: int
    """Training users."""
    items: int
    interactions: int
    """Training interactions."""
    density: float
    """Share of all pairs of a training user and an item that are interactions."""
    lengths: Lengths
    """Items of a training user."""
    heads: Sequence[Head]
    unseen_items: int
    """Items without a training interaction."""
    popularity: Sequence[tuple[int, int]]
    """(rank from 1, training interactions) of every item, or of 200 ranks at equal distances on a logarithmic scale."""
    held_out: Mapping[str, HeldOut]
    """"valid" and "test", where they are there."""
    times: Mapping[str, Any] = field(default_factory=dict)
    """As the manifest has it; empty without times."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    source_files: Sequence[str] = ()
    warnings: Sequence[str] = ()
