"""Ratings in the layout of MovieLens latest-small, for machines without the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

USERS, ITEMS, GENRES, RATED = 300, 400, 5, 60
NAMED = {
    1: "Toy Story (1995)",
    11: "American President, The (1995)",
    318: "Shawshank Redemption, The (1994)",
    364: "Lion King, The (1994)",
    588: "Aladdin (1992)",
}
"""Films that the pages name, with their ids; they are the most popular ones."""


def write(folder: Path) -> Path:
    """Write ratings.csv and movies.csv: a user likes films of one genre and some popular ones.

    Returns:
        the folder.
    """
    generator = np.random.default_rng(20)
    others = [number for number in range(2, 3 * ITEMS, 2) if number not in NAMED]
    ids = np.array([*NAMED, *others[: ITEMS - len(NAMED)]])
    genre = np.arange(ITEMS) % GENRES
    popularity = 1.0 / np.sqrt(np.arange(ITEMS) + 3.0)
    rows = []
    for user in range(USERS):
        likes = genre == user % GENRES
        weight = popularity * np.where(likes, 8.0, 1.0)
        chosen = generator.choice(ITEMS, RATED, replace=False, p=weight / weight.sum())
        stars = np.where(likes[chosen], 4.5, 3.0) + generator.integers(-2, 3, RATED) / 2
        times = 900_000_000 + generator.integers(0, 10_000_000, RATED)
        rows += zip(np.full(RATED, user + 1), ids[chosen], np.clip(stars, 1.0, 5.0), times, strict=True)
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["userId", "movieId", "rating", "timestamp"]).to_csv(folder / "ratings.csv", index=False)
    titles = [NAMED.get(number, f"Film Number {number} (1990)") for number in ids.tolist()]
    genres = [f"Genre {number}" for number in genre]
    pd.DataFrame({"movieId": ids, "title": titles, "genres": genres}).to_csv(folder / "movies.csv", index=False)
    return folder
