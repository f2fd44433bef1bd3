"""Filters on the columns of items: what fits, what is refused, and that nothing but columns can be reached."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.recommend.item_table import joined
from serving.recommend.requests import RequestError
from serving.recommend.where import ItemFilter

TABLE = pa.table(
    {
        "item_id": [1, 2, 3, 4],
        "title": ["Alien (1979)", "It's", "/etc/passwd", None],
        "genre": [["Drama", "War"], ["Comedy"], [], None],
        "year": [1990, 2000, None, 1985],
        "price": [1.5, 2.5, None, 3.0],
        "on sale": [True, False, None, True],
        "ok": [True, False, None, True],
        "added": pa.array([0, 86_400, None, 172_800], pa.timestamp("s")),
    }
)
FILTER = ItemFilter(TABLE)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("genre = 'Drama' and year > 1980", [1]),
        ("genre <> 'Drama'", [2, 3]),
        ("genre in ('War', 'Comedy')", [1, 2]),
        ("not genre in ('Drama', 'Comedy')", [3]),
        ("genre like 'C%'", [2]),
        ("year between 1985 and 1990", [1, 4]),
        ("year not in (1990)", [2, 4]),
        ("1990 <= YEAR", [1, 2]),
        ("year is null", [3]),
        ("year is not null and not ok", [2]),
        ("ok or year = 2000", [1, 2, 4]),
        ('"on sale" = true', [1, 4]),
        ("price > 1.5e0 and price > -1", [2, 4]),
        ("title = 'It''s'", [2]),
        ("title ilike 'ALIEN%'", [1]),
        ("title not ilike 'ALIEN%'", [2, 3]),
        ("not title like 'A%'", [2, 3]),
        ("genre not like 'C%'", [1, 3]),
        ("title not like 'A%'", [2, 3]),
        ("title = '/etc/passwd'", [3]),
        ("added > '1970-01-01 12:00:00'", [2, 4]),
        ("((year > 1 and (price < 2)))", [1]),
        ("year > 1 -- a comment", [1, 2, 4]),
    ],
)
def test_what_fits(text: str, fits: list[int]) -> None:
    mask = FILTER.mask(text)
    assert [i for i, fitting in zip(TABLE["item_id"].to_pylist(), mask, strict=True) if fitting] == fits


REFUSED = """
year; year > 'x'; title > 3; 1 = 1; true; year = null; year = year; year + 1 > 3; *; --; select 1; (select 1);
year in ()
year > (select 1); year in (select 1); exists (select 1); read_csv('/etc/passwd') = 'x'; read_parquet('items.parquet')
title = version(); getenv('HOME') = 'x'; year > length(title); lower(title) = 'a'; title = 'a' || 'b'; year::text = '1'
cast(year as text) = 'x'; year > 1 union select 1; year > 1 limit 3; items.year > 1; '/etc/passwd'; year > $1; year > ?
case when year > 1 then true end; title = @x; title ~ '(a+)+'; any(genre) = 'x'; title similar to 'x'; title like title
title like 'x' escape 'y'; year in unnest([1]); year = 99999999999999999999; added > 'yesterday'; genre > 3; ok > 1
year between symmetric 2000 and 1985; year is distinct from 3; year in (1, title); date '2020-01-01' < added
[1] = genre
"""


@pytest.mark.parametrize(
    "text",
    [
        *(text.strip() for line in REFUSED.splitlines() for text in line.split(";") if text.strip()),
        *(
            "\x00",
            "year > 1\x00",
            "year > 1; drop table items",
            "(" * 400 + "year > 1" + ")" * 400,
            "not " * 250 + "ok",
        ),
    ],
)
def test_all_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        FILTER.mask(text)
    assert "\n" not in str(refused.value)
    assert "where" in str(refused.value)
    assert len(str(refused.value)) < 250


def test_an_unknown_column_names_the_known_ones() -> None:
    with pytest.raises(RequestError, match="column 'colour', the items have: item_id, title, genre, year"):
        FILTER.mask("colour = 'red'")


def test_a_file_is_joined_by_id(tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("item_id,genre,price\n2,Comedy|Drama,7\n1,War,8\n9,None,1\n")
    items = pa.table({"item_id": [1, 2, 3], "title": ["a", "b", "c"], "price": [1, 1, 1]})
    table = joined(items, tmp_path / "more.csv")
    assert table.column_names == ["item_id", "title", "genre", "price"]
    assert table["price"].to_pylist() == [8, 7, None]
    assert ItemFilter(table).mask("genre = 'Drama'").tolist() == [False, True, False]
    pq.write_table(table, tmp_path / "again.parquet")
    assert ItemFilter(joined(items, tmp_path / "again.parquet")).mask("genre in ('War')").tolist() == [
        True,
        False,
        False,
    ]
    texts = items.set_column(0, "item_id", pa.array(["1", "2", "3"]))
    assert joined(texts, tmp_path / "more.csv")["price"].to_pylist() == [8, 7, None]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist"),
        ("id,genre\n1,x\n", "expected item_id"),
        ("item_id,genre\nx,y\n", "of type string, the data set's are int64"),
        ("item_id,genre\n7,y\n", "none of the 2 items"),
        ("", "is no CSV or Parquet table"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, content: str | None, why: str) -> None:
    if content is not None:
        (tmp_path / "more.csv").write_text(content)
    with pytest.raises(RequestError, match=why):
        joined(pa.table({"item_id": [1, 2]}), tmp_path / "more.csv")
