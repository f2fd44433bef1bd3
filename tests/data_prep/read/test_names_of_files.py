"""What is named with --raw and is no file of rows: pipes, empty names, folders without permission, links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_prep.read import paths

from .reading import read

CONTENT = "user,item\n1,2\n"


@pytest.mark.parametrize("raw", ["", " ", "\t"])
def test_an_empty_name_is_not_the_current_folder(raw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text(CONTENT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="--raw is an empty name; name the file"):
        paths.find([raw])


def test_the_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = "--raw - is the standard input, which can be read only once, .* write it to a file first and name that"
    with pytest.raises(ValueError, match=expected):
        paths.find(["-"])
    Path("-").write_text(CONTENT)
    assert [file.name for file in paths.find(["-"])] == ["-"]


def test_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p")
    for raw in (str(tmp_path / "p"), "/dev/null"):
        with pytest.raises(ValueError, match=f"--raw {raw} is a pipe or a device, which can be read only once"):
            paths.find([raw])


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("named", ["table", "table/closed", "tab*", "table/*"])
def test_a_folder_that_cannot_be_read(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open/a.csv", "closed/b.csv"):
        (tmp_path / "table" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "table" / name).write_text(CONTENT)
    (tmp_path / "table" / "closed").chmod(0)
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.chdir(tmp_path)
    os.seteuid(65534)
    try:
        with pytest.raises(ValueError, match="table/closed cannot be read: Permission denied; allow it, or leave"):
            paths.find([named])
    finally:
        os.seteuid(0)


def test_links(tmp_path: Path) -> None:
    table, other = tmp_path / "table", tmp_path / "other"
    table.mkdir()
    other.mkdir()
    (table / "a.csv").write_text(CONTENT)
    (other / "b.csv").write_text("user,item\n3,4\n")
    (table / "sub").symlink_to(other)
    (table / "round").symlink_to(table)
    assert read(table) == [(1, 2), (3, 4)]
    (table / "soft.csv").symlink_to("a.csv")
    with pytest.raises(ValueError, match=r"soft\.csv is named twice and is the same file as .*/a\.csv, every file"):
        paths.find([str(table)])
    (table / "soft.csv").unlink()
    os.link(table / "a.csv", tmp_path / "hard.csv")
    with pytest.raises(ValueError, match=r"hard\.csv is named twice and is the same file as .*/a\.csv, every file"):
        paths.find([str(table / "a.csv"), str(tmp_path / "hard.csv")])
