"""A folder in the layout of MovieLens latest-small, for the commands that download it in the documentation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from data_prep.__main__ import main

TITLES = {
    1: "Toy Story (1995)",
    2: "Jumanji (1995)",
    318: "Shawshank Redemption, The (1994)",
    356: "Forrest Gump (1994)",
    588: "Aladdin (1992)",
}
"""Titles that pages ask for; the ids are MovieLens's."""


def write_raw_movies(folder: Path) -> Path:
    """Write ratings.csv and movies.csv of 610 users, with a structure that a model can learn."""
    folder.mkdir(parents=True)
    path = folder / "ratings.csv"
    words = ["synthetic", "--users", "610", "--items", "1500", "--interactions", "60000", "--write-csv", str(path)]
    assert main(words) == 0
    ratings = pd.read_csv(path)
    often = ratings["movieId"].value_counts().index[: len(TITLES)]
    known = ratings["movieId"].map(dict(zip(often, TITLES, strict=True)))
    ratings["movieId"] = known.fillna(ratings["movieId"] + 10_000).astype(int)
    ratings.to_csv(path, index=False)
    ids = sorted(ratings["movieId"].unique())
    titles = [TITLES.get(i, f"Film {i} (2000)") for i in ids]
    pd.DataFrame({"movieId": ids, "title": titles, "genres": "Drama"}).to_csv(folder / "movies.csv", index=False)
    return folder
