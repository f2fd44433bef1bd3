"""Sizes of synthetic data. Imports nothing that takes long, for the help."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How much to draw, and how strongly the structure shows."""

    users: int
    items: int
    interactions: int
    """Rows altogether; every user has at least five, so few rows for many users are raised to that."""
    ratings: bool = True
    """Half-star ratings; without, every row is a positive event."""
    popularity_exponent: float = 0.8
    """Items fall off as rank ** -exponent."""
    taste: float = 0.8
    """Share of a user's rows from favourite genres (less for users with many), the rest from overall popularity."""


# Raw sizes of the data sets (their README files); "ml-20m-prepared" is the matrix the paper trains on.
LIKE: dict[str, Shape] = {
    "tiny": Shape(users=600, items=300, interactions=30_000),
    "demo": Shape(users=12_000, items=2_000, interactions=960_000),
    "ml-100k": Shape(users=943, items=1_682, interactions=100_000),
    "ml-1m": Shape(users=6_040, items=3_706, interactions=1_000_209),
    "ml-20m": Shape(users=138_493, items=26_744, interactions=20_000_263),
    "ml-20m-prepared": Shape(users=136_677, items=20_108, interactions=9_990_682, ratings=False),
    "netflix": Shape(users=480_189, items=17_770, interactions=100_480_507),
}
