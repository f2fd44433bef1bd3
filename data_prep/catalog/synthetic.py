"""Seeded ratings with a long tail and a structure that can be learnt.

Users like a few of up to a hundred genres, items belong to one each; inside a genre, and over all, popularity falls as
a power law. A rating is high where user and genre match. Everything is drawn in blocks of users, so memory stays flat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from data_prep import progress
from data_prep.catalog.shapes import Shape
from data_prep.read.rows import Ids, Rows
from data_prep.read.schema import Schema
from data_prep.split.result import generator

FAVOURITES = 4
"""Genres a user likes."""
BLOCK_EVENTS = 1 << 20
T = TypeVar("T")
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Catalogue:
    """Items laid out genre by genre, so that one search in a cumulative sum draws from any genre."""

    order: Ints
    """[I] items, genre after genre."""
    bounds: Ints
    """[G + 1] where each genre begins in `order`."""
    cumulative: Floats
    """[I + 1] cumulative popularity along `order`, from 0 to 1."""


def _catalogue(shape: Shape, rng: np.random.Generator) -> _Catalogue:
    genres = min(max(12, min(100, shape.items // 100)), shape.items // 2)
    weight = (rng.permutation(shape.items) + 5.0) ** -shape.popularity_exponent
    genre = rng.integers(0, genres, shape.items)
    genre[rng.permutation(shape.items)[:genres]] = np.arange(genres)  # none is empty
    order = np.argsort(genre, kind="stable")
    cumulative = np.concatenate([[0.0], np.cumsum(weight[order])])
    bounds = np.searchsorted(genre[order], np.arange(genres + 1))
    return _Catalogue(order=order, bounds=bounds, cumulative=cumulative / cumulative[-1])


def _user_lengths(shape: Shape, rng: np.random.Generator) -> Ints:
    """[U] rows a user: log-normal, at least 5, at most a third of the items, summing to about the wanted number."""
    raw = rng.lognormal(sigma=1.1, size=shape.users)
    top = max(5, shape.items // 3)
    lengths = np.full(shape.users, 5, np.int64)
    for _ in range(8):  # clipping at both ends moves the sum; a few rounds bring it back
        spare = shape.interactions - int(lengths.sum())
        if abs(spare) * 1000 < shape.interactions:
            break
        raw *= (
            max(shape.interactions / max(int(lengths.sum()), 1), 0.2)
            if lengths.max() > 5
            else (shape.interactions / raw.sum())
        )
        lengths = np.clip(raw.astype(np.int64), 5, top)
    return lengths


def _draw(
    shape: Shape, catalogue: _Catalogue, lengths: Ints, favourites: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Distinct (user, item) pairs of one block of users: local user, item, whether the genre is a favourite."""
    share = lengths / shape.items  # who takes a large part of the catalogue meets many items again
    want = (lengths * (1.4 + 12 * share)).astype(np.int64) + 8
    user = np.repeat(np.arange(len(lengths)), want)
    matches = rng.random(len(user)) < (shape.taste / (1 + 6 * share))[user]
    liked = favourites[user, np.minimum(rng.geometric(0.45, len(user)) - 1, FAVOURITES - 1)]
    low = np.where(matches, catalogue.cumulative[catalogue.bounds[liked]], 0.0)
    high = np.where(matches, catalogue.cumulative[catalogue.bounds[liked + 1]], 1.0)
    place = np.searchsorted(catalogue.cumulative, low + (high - low) * rng.random(len(user)), side="right") - 1
    item = catalogue.order[np.clip(place, 0, shape.items - 1)]
    first = np.sort(np.unique(user * shape.items + item, return_index=True)[1])
    user, item, matches = user[first], item[first], matches[first]
    starts = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(lengths)))])
    kept = np.arange(len(user)) - starts[user] < lengths[user]
    return user[kept], item[kept], matches[kept]


def blocks(shape: Shape, seed: int) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.float32]]]:
    """Yield (users [R], items [R], ratings [R]) with ids from 1, ascending by user.

    Raises:
        ValueError: sizes that cannot be drawn.
    """
    if shape.users < 1 or shape.items < 10 or shape.interactions < 1:
        raise ValueError(
            f"synthetic data of {shape.users} users, {shape.items} items and {shape.interactions} interactions: "
            "at least 1 user, 10 items and 1 interaction are needed"
        )
    catalogue = _catalogue(shape, generator(seed, "synthetic/items"))
    rng = generator(seed, "synthetic/users")
    lengths = _user_lengths(shape, rng)
    genres = len(catalogue.bounds) - 1
    edges = np.searchsorted(np.cumsum(lengths), np.arange(0, lengths.sum(), BLOCK_EVENTS))
    for start, end in zip(edges, [*edges[1:], shape.users], strict=True):
        if start == end:
            continue
        favourites = rng.integers(0, genres, (end - start, FAVOURITES))
        user, item, matches = _draw(shape, catalogue, lengths[start:end], favourites, rng)
        stars = np.where(matches, 4.2, 3.1) + 0.8 * rng.standard_normal(len(user))
        ratings = (np.clip(np.round(stars * 2), 1, 10) / 2).astype(np.float32)
        yield user + start + 1, item + 1, ratings


class SyntheticSource:
    """Drawn rows as a source; rank 0 draws all of them."""

    files: tuple[str, ...] = ()

    def __init__(self, shape: Shape, seed: int) -> None:
        self._shape, self._seed = shape, seed
        types = {"userId": pa.int64(), "movieId": pa.int64(), "rating": pa.float32()}
        self.schema = Schema(
            names=tuple(types), user="userId", item="movieId", value="rating" if shape.ratings else None,
            kind="rating" if shape.ratings else "none", types=types,
        )  # fmt: skip

    def stamp(self) -> str:
        """Nothing is read."""
        return ""

    def digest(self) -> str:
        """Nothing is read."""
        return ""

    def rows_estimate(self) -> int:
        """Rows."""
        return self._shape.interactions

    def widen(self, column: str, values: Sequence[str]) -> None:
        """Every type is wide enough."""

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """All rows on rank 0, none elsewhere."""
        del size, with_times
        if rank:
            return
        with progress.bar("drawing", self._shape.interactions, "row") as bar:
            for users, items, ratings in blocks(self._shape, self._seed):
                values = ratings if self._shape.ratings else None
                yield use(Rows(users=Ids(keys=users), items=Ids(keys=items), values=values))
                bar.update(len(users))


def write_csv(shape: Shape, seed: int, path: Path) -> int:
    """Write the rows as a MovieLens-style ``ratings.csv`` and return their number."""
    schema = pa.schema(
        [("userId", pa.int64()), ("movieId", pa.int64()), ("rating", pa.float32()), ("timestamp", pa.int64())]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, clock = 0, generator(seed, "synthetic/time")
    working = path.with_name(path.name + ".writing")
    options = csv.WriteOptions(quoting_style="none")
    try:
        with (
            csv.CSVWriter(working, schema, write_options=options) as writer,
            progress.bar(f"writing {path.name}", shape.interactions, "row") as bar,
        ):
            for users, items, ratings in blocks(shape, seed):
                times = clock.integers(789_652_009, 1_427_784_002, len(users))
                writer.write_table(pa.table([users, items, ratings, times], schema=schema))
                rows += len(users)
                bar.update(len(users))
        working.rename(path)
    finally:
        working.unlink(missing_ok=True)
    return rows
