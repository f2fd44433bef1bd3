"""Item titles, where the source has them."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

KNOWN_FILES = ("movies.csv", "movies.dat", "u.item", "movie_titles.csv", "movie_titles.txt")


def find_titles(folder: Path) -> Path | None:
    """The title file beside the ratings, None if there is none."""
    return next((folder / name for name in KNOWN_FILES if (folder / name).is_file()), None)


def _decoded(path: Path) -> str:
    """The text of a file in UTF-8, or else in Latin-1 (MovieLens has both)."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """Ids and titles as text, by the format that the name tells."""
    if path.suffix == ".dat" or path.name == "u.item" or path.name.startswith("movie_titles"):
        separator, column = ("::", 1) if path.suffix == ".dat" else ("|", 1) if path.name == "u.item" else (",", 2)
        lines = [line.rstrip("\r") for line in _decoded(path).split("\n") if line.strip()]
        fields = [line.split(separator, 2 if separator == "," else -1) for line in lines]
        if short := next((line for line, f in zip(lines, fields, strict=True) if len(f) <= column), None):
            raise ValueError(f"{path}: {short[:60]!r} has fewer than {column + 1} fields separated by {separator!r}")
        return [f[0] for f in fields], [f[column] for f in fields]
    try:
        table = pd.read_csv(io.StringIO(_decoded(path)), usecols=[0, 1], dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(f"{path} is no table of item ids and titles: {str(error).splitlines()[0]}") from None
    return table.iloc[:, 0].tolist(), table.iloc[:, 1].tolist()


def read_titles(path: Path) -> pd.Series:
    """Titles by original item id, as text.

    The format follows from the name: ``*.dat`` (``::``), ``u.item`` (``|``), ``movie_titles*`` (Netflix: id,year,title
    with commas in titles), anything else is CSV with a header, id and title first. UTF-8 or Latin-1.

    Raises:
        ValueError: the file is missing or cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist, expected a file of item titles")
    ids, titles = _columns(path)
    found = pd.Series(titles, index=pd.Index(ids, dtype="object"), dtype="object")
    return found[~found.index.duplicated() & (found != "")]
