"""Item titles, where the source has them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

KNOWN_FILES = ("movies.csv", "movies.dat", "u.item", "movie_titles.csv", "movie_titles.txt")


def find_titles(folder: Path) -> Path | None:
    """The title file beside the ratings, None if there is none."""
    return next((folder / name for name in KNOWN_FILES if (folder / name).is_file()), None)


def read_titles(path: Path) -> pd.Series:
    """Titles by original item id.

    The format follows from the name: ``movies.dat`` (``::``, Latin-1), ``u.item`` (``|``, Latin-1),
    ``movie_titles.*`` (Netflix: id,year,title with commas), anything else is CSV with id and title first.

    Raises:
        ValueError: the file is missing, or its first column is no whole number.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist, expected a file of item titles")
    if path.name.endswith(".csv") and not path.name.startswith("movie_titles"):
        table = pd.read_csv(path, usecols=[0, 1], encoding="utf-8")
        ids, titles = table.iloc[:, 0], table.iloc[:, 1]
    else:
        separator, column = {"movies.dat": ("::", 1), "u.item": ("|", 1)}.get(path.name, (",", 2))
        lines = path.read_text(encoding="latin-1").splitlines()
        fields = [line.split(separator, column if separator == "," else -1) for line in lines if line.strip()]
        if any(len(f) <= column for f in fields):
            raise ValueError(f"{path}: a line has fewer than {column + 1} fields separated by {separator!r}")
        ids, titles = pd.Series([f[0] for f in fields]), pd.Series([f[column] for f in fields])
    numbers = pd.to_numeric(ids, errors="coerce")
    if numbers.isna().any():
        raise ValueError(f"{path}: {ids[numbers.isna()].iloc[0]!r} is not an item id, expected whole numbers first")
    found = pd.Series(titles.astype(str).to_numpy(), index=numbers.astype("int64"))
    return found[~found.index.duplicated()]
