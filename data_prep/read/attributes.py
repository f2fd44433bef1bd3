"""Attributes of items from the columns of a title file: numbers, text, or lists where a field has several values.

MovieLens has genres ("Comedy|Drama", which becomes the list column genre), and the year at the end of the title.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

SEPARATOR = "|"
NO_GENRE = ("", "(no genres listed)", "unknown")
YEAR = re.compile(r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
RENAMED = {"genres": "genre"}
RESERVED = ("index", "item_id", "title", "count")
ML_100K_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""Of the last columns of u.item, which hold 0 or 1 (its README)."""


def names(headers: Sequence[str]) -> list[str]:
    """Names of attribute columns: no two are equal, and none is that of another column of an item table."""
    found: list[str] = []
    for header in headers:
        wanted = RENAMED.get(header.strip(), header.strip()) or "column"
        name, number = wanted, 2
        while name in RESERVED or name in found:
            name, number = f"{wanted}_{number}", number + 1
        found.append(name)
    return found


def flagged_genres(fields: Sequence[str]) -> str:
    """The genres of a line of u.item, separated."""
    flags = fields[-len(ML_100K_GENRES) :]
    return SEPARATOR.join(genre for genre, flag in zip(ML_100K_GENRES, flags, strict=False) if flag == "1")


def _column(texts: pd.Series) -> pa.Array:
    """Text as whole numbers, other numbers, lists or text; null where there is none."""
    given = texts.notna() & ~texts.isin(NO_GENRE)
    if texts.name == "genre" or texts[given].str.contains(SEPARATOR, regex=False).any():
        lists = [
            None if pd.isna(t) else [] if t in NO_GENRE else [part for part in t.split(SEPARATOR) if part]
            for t in texts
        ]
        return pa.array(lists, pa.list_(pa.string()))
    numbers = pd.to_numeric(texts.where(given & (texts != "NULL")), errors="coerce")  # NULL: a year of Netflix
    if given.any() and (numbers.notna() | ~given | (texts == "NULL")).all():
        whole = (numbers.dropna() % 1 == 0).all() and numbers.abs().max() < 2**53
        return pa.array(
            numbers.astype("Int64") if whole else numbers, pa.int64() if whole else pa.float64(), from_pandas=True
        )
    return pa.array(texts.where(texts.notna() & (texts != ""), None), pa.string(), from_pandas=True)


def attribute_table(ids: pa.Array, titles: pd.DataFrame | None) -> pa.Table | None:
    """item_id, and the attributes of these items; None if the source has none.

    Args:
        ids: [I] original ids.
        titles: see `read_titles`.
    """
    if titles is None:
        return None
    found = titles.reindex(list(map(str, ids.to_pylist())))
    columns = {name: _column(found[name]) for name in found.columns if name != "title"}
    if "year" not in columns:
        years = found["title"].str.extract(YEAR.pattern, expand=False)
        if years.notna().any():
            columns["year"] = _column(years.rename("year"))
    return pa.table({"item_id": ids, **columns}) if columns else None
