"""Item titles and attributes, where the source has them."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from data_prep.read import attributes

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


def _split_lines(path: Path) -> tuple[list[list[str]], int]:
    """The fields of each line of a file without a header, and the place of the title."""
    separator, column = ("::", 1) if path.suffix == ".dat" else ("|", 1) if path.name == "u.item" else (",", 2)
    lines = [line.rstrip("\r") for line in _decoded(path).split("\n") if line.strip()]
    fields = [line.split(separator, 2 if separator == "," else -1) for line in lines]
    if short := next((line for line, f in zip(lines, fields, strict=True) if len(f) <= column), None):
        raise ValueError(f"{path}: {short[:60]!r} has fewer than {column + 1} fields separated by {separator!r}")
    return fields, column


def _with_header(path: Path) -> pd.DataFrame:
    """The columns of a CSV file as text: id and title first."""
    try:
        table = pd.read_csv(io.StringIO(_decoded(path)), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        raise ValueError(f"{path} is no table of item ids and titles: {str(error).splitlines()[0]}") from None
    if table.shape[1] < 2:
        raise ValueError(f"{path} is no table of item ids and titles: it has {table.shape[1]} columns, expected 2")
    return table


def _columns(path: Path) -> pd.DataFrame:
    """item_id, title and the further columns of a file, all as text, by the format that the name tells."""
    if path.suffix != ".dat" and path.name != "u.item" and not path.name.startswith("movie_titles"):
        table = _with_header(path)
        return table.set_axis(["item_id", "title", *attributes.names(table.columns[2:].tolist())], axis=1)
    fields, column = _split_lines(path)
    found = {"item_id": [f[0] for f in fields], "title": [f[column] for f in fields]}
    if path.suffix == ".dat":
        found["genre"] = [f[2] if len(f) > 2 else "" for f in fields]
    elif path.name == "u.item":
        found["genre"] = [attributes.flagged_genres(f) for f in fields]
    else:
        found["year"] = [f[1] for f in fields]
    return pd.DataFrame(found)


def read_titles(path: Path) -> pd.DataFrame:
    """Titles and attributes by original item id, as text: a column title, and others (see `attributes`).

    The format follows from the name: ``*.dat`` (``::``), ``u.item`` (``|``), ``movie_titles*`` (Netflix: id,year,title
    with commas in titles), anything else is CSV with a header, id and title first. UTF-8 or Latin-1.

    Raises:
        ValueError: the file is missing or cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist, expected a file of item titles")
    table = _columns(path)
    found = table.set_index(pd.Index(table.pop("item_id"), dtype="object", name=None))
    return found[~found.index.duplicated() & (found["title"] != "")]
