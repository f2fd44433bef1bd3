"""Titles of one's own for any data set; unknown columns are answered with those that there are, and the flag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from .conftest import write_csv
from .test_he2017 import publish

ROWS = [(u, i, 5.0) for u in range(1, 11) for i in range(1, 7)]
TITLES = (
    'movieId,title,genres\n1,"Postman, The (Postino, Il) (1994)",Drama\n2,"Say ""cheese"", please",x\n3,Heat,Crime\n'
)


def raw(name: str, folder: Path) -> list[str | Path]:
    """NAME and --raw of the rows."""
    if name == "csv":
        return ["csv", "--raw", write_csv(folder / "r.csv", ROWS)]
    if name == "parquet":
        pd.DataFrame(ROWS, columns=["userId", "movieId", "rating"]).to_parquet(folder / "r.parquet")
        return ["parquet", "--raw", folder / "r.parquet"]
    if name == "he2017":
        return ["he2017", "--raw", publish(folder / "raw")]
    (folder / "u.data").write_text("".join(f"{u}\t{i}\t{int(r)}\t9\n" for u, i, r in ROWS))
    return [name, "--raw", folder / "u.data"]


@pytest.mark.parametrize("name", ["csv", "parquet", "he2017", "ml-100k"])
def test_titles_with_commas_for_any_data_set(name: str, prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text(TITLES)
    items = prepare(*raw(name, tmp_path), "--titles", tmp_path / "names.csv").items.set_index("item_id")["title"]
    assert items[[1, 2, 3]].tolist() == ["Postman, The (Postino, Il) (1994)", 'Say "cheese", please', "Heat"]
    assert pd.isna(items[4])


def test_titles_of_other_items_are_refused(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("id,title\n100,One\n200,Two\n")
    message = refuse(*raw("csv", tmp_path), "--titles", tmp_path / "names.csv")
    assert "names.csv names none of the 6 items (its first id is 100, the first item is 1); the first column" in message


def test_few_titles_are_noted(prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text(TITLES)
    path = tmp_path / "names.csv"
    warnings = prepare(*raw("csv", tmp_path), "--titles", path).manifest["warnings"]
    assert warnings == [f"3 of 6 items have a title in {path}"]


HEADER = "kunde,ware,sterne,wann,laden"


@pytest.mark.parametrize(
    ("words", "missing", "flags"),
    [
        ([], "no column 'userId', 'movieId' among", "the right ones with --user-column, --item-column"),
        (["--user-column", "kunde"], "no column 'movieId' among", "the right one with --item-column"),
        (
            ["--user-column", "kunde", "--item-column", "ware", "--rating-column", "rating"],
            "no column 'rating' among",
            "the right one with --rating-column",
        ),
        (
            ["--user-column", "kunde", "--item-column", "ware", "--time-column", "at"],
            "no column 'at' among",
            "the right one with --time-column",
        ),
    ],
)
@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_an_unknown_column(name: str, words: list[str], missing: str, flags: str, refuse: Any, tmp_path: Path) -> None:
    path = tmp_path / f"r.{name}"
    if name == "csv":
        path.write_text(HEADER + "\n1,2,3,4,5\n")
    else:
        pd.DataFrame([[1, 2, 3.0, 4, 5]], columns=HEADER.split(",")).to_parquet(path)
    message = refuse(name, "--raw", path, *words)
    assert f"{missing} 'kunde', 'ware', 'sterne', 'wann', 'laden'; " in message
    assert message.endswith(flags)


def test_a_column_of_times_is_checked_for_every_protocol(refuse: Any, tmp_path: Path) -> None:
    message = refuse(*raw("csv", tmp_path), "--time-column", "at")
    assert "no column 'at' among 'userId', 'movieId', 'rating', 'timestamp'" in message


def test_many_columns_are_cut_between_names(refuse: Any, tmp_path: Path) -> None:
    names = [f"column_number_{k}" for k in range(200)]
    (tmp_path / "r.csv").write_text(",".join(names) + "\n" + ",".join("1" * 200) + "\n")
    message = refuse("csv", "--raw", tmp_path / "r.csv")
    assert "'column_number_0', 'column_number_1', " in message
    assert "' and others (200 columns); check the delimiter" in message


def test_a_known_data_set_names_its_own_columns(refuse: Any, tmp_path: Path) -> None:
    """--user-column has no effect there, so it is not proposed for it."""
    (tmp_path / "ratings.csv").write_text(HEADER + "\n1,2,3,4,5\n")
    message = refuse("ml-20m", "--raw", tmp_path / "ratings.csv")
    assert "no column 'userId', 'movieId', 'rating', 'timestamp' among 'kunde', 'ware', " in message
    assert "expected those of ml-20m; a file of your own is read with: python -m data_prep table --raw FILE" in message
