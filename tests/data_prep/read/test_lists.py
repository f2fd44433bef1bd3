"""Lists, one line a user, as LightGCN and NGCF publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_prep.read import cutting

from .reading import opened, read, rows_of

GOWALLA = "0 0 1 2 3\n1 127\n2\n3 4 5 \n"
ROWS = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 127), (3, 4), (3, 5)]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(
    ("content", "asked"),
    [(GOWALLA, {}), (GOWALLA[:-1], {}), (GOWALLA.replace("\n", "\r\n"), {}), ("\ufeff" + GOWALLA, {}),
     (GOWALLA.replace(" ", "\t"), {"format": "lists"}), (GOWALLA.replace(" \n", "\n").replace(" ", ","),
     {"format": "lists", "delimiter": ","}), (GOWALLA.encode("utf-16"), {}), ("\n" + GOWALLA + "\n", {})],
    ids=range(8),
)  # fmt: skip
def test_lists(content: str | bytes, asked: dict[str, Any], ranks: int, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    assert read(tmp_path / "train.txt", ranks=ranks, **asked) == ROWS


@pytest.mark.parametrize("ranks", [1, 2, 7])
def test_blocks_of_any_size(ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", 50)
    lines = [[u, *range(u % 9)] for u in range(200)]
    (tmp_path / "t.txt").write_text("".join(" ".join(map(str, line)) + "\n" for line in lines))
    assert read(tmp_path / "t.txt", ranks=ranks) == [(line[0], item) for line in lines for item in line[1:]]


@pytest.mark.parametrize("odd", ["x1", "007", "1.0", "9" * 20, "+5"])
def test_an_id_that_is_no_number_makes_the_column_text(odd: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("".join(f"{u} 1 {u} 3\n1 2\n" for u in range(10_000)) + f"5 {odd}\n")
    source = opened(tmp_path / "t.txt")
    assert source.schema.types["item"] == "int64"
    found = rows_of(source, ranks=2)
    assert found[:2] == [(0, "1"), (0, "0")]
    assert found[-1] == (5, odd)


def test_text_ids(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("ann sku-1 sku-2\nbob\nJosé sku-1\n")
    assert read(tmp_path / "t.txt") == [("ann", "sku-1"), ("ann", "sku-2"), ("José", "sku-1")]


def test_bad_lists(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("1\n2\n3\n")
    with pytest.raises(ValueError, match=r"t\.txt holds no rows: no user has an item"):
        read(path, format="lists")
    path.write_text("0 1 2\n1 2\n")
    with pytest.raises(ValueError, match="no column 'email' among 'user', 'item'; a list has the user first"):
        read(path, user="email")
    path.write_bytes(b"0 1 2\n1 2\n" * 100_000 + b"1 \xff\n")
    with pytest.raises(ValueError, match=r"t\.txt, line 200001: not UTF-8; name the encoding with --encoding"):
        read(path)
