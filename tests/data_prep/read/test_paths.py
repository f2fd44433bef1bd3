"""Files, globs and folders as users name them; their identity."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from data_prep.read import paths

from .reading import opened, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As Spark writes, with what a user put beside the parts."""
    root = tmp_path / "table"
    for name in ("b.csv", "a.csv", "sub/c.csv", ".hidden.csv", "_temporary/0.csv", ".a.csv.crc", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("user,item\n1,2\n")
    (root / "_SUCCESS").touch()
    (root / "d.csv").touch()
    return root


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (["table"], ["a.csv", "b.csv", "sub/c.csv"]),
        (["table/"], ["a.csv", "b.csv", "sub/c.csv"]),
        (["table/*.csv"], ["a.csv", "b.csv"]),
        (["table/[b-c].csv"], ["b.csv"]),
        (["table/**/*.csv"], ["a.csv", "b.csv", "sub/c.csv"]),
        (["ta*"], ["table/a.csv", "table/b.csv", "table/sub/c.csv"]),
        (["table/b.csv", "table/a.csv"], ["b.csv", "a.csv"]),
        (["table/.hidden.csv"], [".hidden.csv"]),
    ],
)
def test_what_is_found(named: list[str], expected: list[str], folder: Path) -> None:
    assert [f.name for f in paths.find([str(folder.parent / name) for name in named])] == expected


def test_a_file_whose_name_looks_as_a_glob(tmp_path: Path) -> None:
    (tmp_path / "r[1].csv").write_text("user,item\n1,2\n")
    assert read(tmp_path / "r[1].csv") == [(1, 2)]


def test_file_addresses_are_paths(folder: Path) -> None:
    assert read(f"file://{folder}/a.csv") == [(1, 2)]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["nowhere.csv"], r"nowhere\.csv does not exist; name the file, the folder, a glob or an address with --raw"),
        (["table/x*.csv"], r"x\*\.csv holds no files; name the file"),
        (["empty"], "empty holds no files"),
        (["marked"], r"marked holds no files to read \(1 hidden or markers\)"),
        (["void"], "void holds 1 files, all empty"),
        (["table/a.csv", "table"], r"a\.csv is named twice, every file is read once"),
    ],
)
def test_nothing_to_read(named: list[str], message: str, folder: Path) -> None:
    (folder.parent / "empty").mkdir()
    for name in ("marked/_SUCCESS", "void/part-0.csv"):
        (folder.parent / name).parent.mkdir()
        (folder.parent / name).touch()
    with pytest.raises(ValueError, match=message):
        paths.find([str(folder.parent / name) for name in named])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", {}), ("year=2020/a.csv", {"year": "2020"}), ("y=1/m=02/a", {"y": "1", "m": "02"}),
     ("c=a%20b%2Fc/x", {"c": "a b/c"}), ("c=__HIVE_DEFAULT_PARTITION__/x", {"c": None}), ("=1/x", {}),
     ("a=b=c/x", {"a": "b=c"})],
)  # fmt: skip
def test_partitions_of_names(name: str, expected: dict[str, str | None]) -> None:
    assert paths.partition_of(name) == expected


def test_identity_of_one_and_of_several_files(tmp_path: Path) -> None:
    one, two = tmp_path / "1.csv", tmp_path / "2.csv"
    one.write_text("user,item\n1,2\n")
    two.write_text("user,item\n3,4\n")
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (one, two)]
    assert opened(one).digest() == digests[0]
    assert opened(one, two).digest() == hashlib.sha256("\n".join(digests).encode()).hexdigest()
    rows = [f"{p.name} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in (one, two)]
    assert opened(one, two).stamp() == hashlib.sha256("\n".join(rows).encode()).hexdigest()
    before = opened(one).stamp()
    os.utime(one, (1, 1))
    assert opened(one).stamp() != before
    assert opened(one).digest() == digests[0]


def test_files_of_two_formats(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / "b.json").write_text('{"user": 1, "item": 2}\n')
    with pytest.raises(ValueError, match=r"b\.json is json, and .*a\.csv is csv; name files of one format"):
        read(tmp_path)


def test_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="nothing to read: name files with --raw, or a database with --database"):
        opened()
