"""Attributes of items: from the title files of known data sets and of one's own, beside the data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.read.attributes import attribute_table
from data_prep.read.titles import read_titles
from recsys_core.dataset import Dataset
from recsys_core.item_attributes import with_attributes

from .conftest import write_csv

ROWS = [(u, i, 5.0) for u in range(1, 11) for i in range(1, 7)]
FLAGS = "|".join("1" if k in (5, 8) else "0" for k in range(19))
FILES = {
    "movies.csv": 'movieId,title,genres\n1,"Postman, The (1994)",Drama|War\n2,Heat,(no genres listed)\n',
    "movies.dat": "1::Postman, The (1994)::Drama|War\n2::Heat::\n",
    "u.item": f"1|Postman, The (1994)|01-Jan-1994||http://x|{FLAGS}\n2|Heat|||http://y|{'|'.join('0' * 19)}\n",
    "movie_titles.txt": "1,1994,Postman, The\n2,NULL,Heat\n",
    "own.csv": "id,name,price,colour,year,title,made in\n1,A,1.5,red,1994,x,IT|DE\n2,B,,,,y,\n",
}


def _table(tmp_path: Path, name: str) -> pa.Table:
    (tmp_path / name).write_text(FILES[name])
    found = attribute_table(pa.array([2, 1, 9]), read_titles(tmp_path / name))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "genres"),
    [
        ("movies.csv", [[], ["Drama", "War"], None]),
        ("movies.dat", [[], ["Drama", "War"], None]),
        ("u.item", [[], ["Comedy", "Drama"], None]),
    ],
)
def test_genres_and_the_year_of_movielens(tmp_path: Path, name: str, genres: list[Any]) -> None:
    table = _table(tmp_path, name)
    assert table.column_names == ["item_id", "genre", "year"]
    assert table["genre"].to_pylist() == genres
    assert table["year"].to_pylist() == [None, 1994, None]
    assert table["year"].type == pa.int64()


def test_the_year_of_netflix(tmp_path: Path) -> None:
    assert _table(tmp_path, "movie_titles.txt").to_pydict() == {"item_id": [2, 1, 9], "year": [None, 1994, None]}


def test_every_further_column_of_a_file_is_an_attribute(tmp_path: Path) -> None:
    table = _table(tmp_path, "own.csv")
    assert table.to_pydict() == {
        "item_id": [2, 1, 9],
        "price": [None, 1.5, None],
        "colour": [None, "red", None],
        "year": [None, 1994, None],
        "title_2": ["y", "x", None],
        "made in": [[], ["IT", "DE"], None],
    }


def test_titles_alone_are_no_attributes() -> None:
    assert attribute_table(pa.array([1]), pd.DataFrame({"title": ["Heat"]}, index=["1"])) is None
    assert attribute_table(pa.array([1]), None) is None


def test_attributes_are_beside_the_data_set_and_not_in_its_fingerprint(prepare: Any, tmp_path: Path) -> None:
    ratings = write_csv(tmp_path / "r.csv", ROWS)
    found = []
    for name, third in (("plain.csv", ""), ("more.csv", ",genres")):
        rows = [f"{i},Film {i}" + (f",War|G{i}" if third else "") for i in range(1, 7)]
        (tmp_path / name).write_text(f"id,title{third}\n" + "\n".join(rows) + "\n")
        found.append(prepare("csv", "--raw", ratings, "--titles", tmp_path / name, out=name + ".d").folder)
        if not third:
            plain = Dataset.open(found[0])
            fingerprint = plain.fingerprint
            assert not (found[0] / "item_attributes.parquet").exists()
            assert list(with_attributes(plain)) == ["index", "item_id", "title", "count"]
    data = Dataset.open(found[1])
    assert data.fingerprint == fingerprint
    assert pq.read_table(found[1] / "item_attributes.parquet").column_names == ["item_id", "genre"]
    table = with_attributes(data)
    assert [list(g) for g in table["genre"]] == [["War", f"G{i}"] for i in table["item_id"]]
    assert table["item_id"].tolist() == data.items["item_id"].tolist()
