"""What `describe` says about a data set, against values that were counted by hand; its picture; its errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

import data_prep
from data_prep import description
from data_prep.description import Head, main
from data_prep.description_text import when
from tests.conftest import ROOT, _environment
from tests.pictures import assert_units

ROWS = {
    "train": [[0], [0, 1], [0, 1, 2, 3, 4], []],
    "valid.fold_in": [[0, 1, 2, 3]],
    "valid.fold_out": [[4]],
    "test.fold_in": [[0], [1, 2]],
    "test.fold_out": [[], [0, 3]],
}
COUNTS = {
    "rows_read": 30,
    "duplicates_dropped": 2,
    "events": 20,
    "users": 7,
    "items": 6,
    "train_users": 4,
    "train_items": 5,
}


def write(folder: Path, rows: dict[str, list[list[int]]], items: int, **manifest: Any) -> Path:
    """A data set folder as `data_prep` writes it, from rows of item indices."""
    folder.mkdir()
    for name, lists in rows.items():
        indptr = np.cumsum([0, *map(len, lists)])
        np.save(folder / f"{name}.indptr.npy", indptr.astype(np.int64))
        np.save(folder / f"{name}.indices.npy", np.array([i for row in lists for i in row], np.int32))
    pd.DataFrame({"index": range(items)}).to_parquet(folder / "items.parquet")
    return finish(folder, **manifest)


def finish(folder: Path, **manifest: Any) -> Path:
    files = {p.name: {"bytes": p.stat().st_size} for p in folder.iterdir() if p.name != "manifest.json"}
    parameters = {"name": "tiny", "protocol": "default", "threshold": 3.5, "min_user_items": 2, "seed": 1}
    found = {"format_version": 1, "source": {"files": ["a.csv"]}, "parameters": parameters, "counts": COUNTS}
    (folder / "manifest.json").write_text(json.dumps(found | {"warnings": []} | manifest | {"files": files}))
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write(tmp_path / "tiny", ROWS, 5)


def test_numbers_counted_by_hand(tiny: Path) -> None:
    found = data_prep.describe(tiny)
    assert (found.users, found.items, found.interactions, found.density) == (4, 5, 8, 0.4)
    lengths = found.lengths
    assert (lengths.rows, lengths.interactions, lengths.least, lengths.largest, lengths.mean) == (4, 8, 0, 5, 2.0)
    assert lengths.quantiles == {"0.25": 0, "0.5": 1, "0.75": 2, "0.9": 5, "0.99": 5}
    assert lengths.bins == [(0, 0, 1), (1, 1, 1), (2, 3, 1), (4, 7, 1)]
    assert found.popularity == [(1, 3), (2, 2), (3, 1), (4, 1), (5, 1)]
    assert found.heads == [Head(share_of_items=s, items=1, share_of_interactions=0.375) for s in (0.01, 0.1)]
    assert found.unseen_items == 0
    valid, test = found.held_out["valid"], found.held_out["test"]
    assert (valid.to_be_found.rows, valid.shown.mean, valid.to_be_found.largest, valid.candidates) == (1, 4.0, 1, 0)
    assert (test.to_be_found.rows, test.shown.mean, test.to_be_found.mean, test.of_training_users) == (
        2,
        1.5,
        1.0,
        False,
    )


def test_the_head_is_rounded_up(tmp_path: Path) -> None:
    """Of 101 items 1 % are 2 and 10 % are 11: 60 + 50 and 60 + 50 + 9 x 1 of 110 + 19 interactions."""
    counts = [0] * 80 + [1] * 19 + [60, 50]
    rows = [[i for i, n in enumerate(counts) if n > user] for user in range(60)]
    found = data_prep.describe(write(tmp_path / "d", {"train": rows}, 101))
    assert [(h.items, h.share_of_interactions) for h in found.heads] == [(2, 110 / 129), (11, 119 / 129)]
    assert found.unseen_items == 80
    assert (found.popularity[:3], found.popularity[-1]) == ([(1, 60), (2, 50), (3, 1)], (21, 1))
    assert found.held_out == {}


def test_the_size_of_blocks_changes_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = data_prep.describe(tiny)
    for numbers in (1, 2, 3):
        monkeypatch.setattr(description, "BLOCK", numbers)
        assert data_prep.describe(tiny) == expected


def test_the_text(tiny: Path) -> None:
    note = "2 repeated (user, item) pairs were kept once"
    times = {"first": 0, "last": 86_399, "unit": "s"}
    finish(tiny, warnings=[note], times=times, counts=COUNTS | {"cold_items": 3})
    found = data_prep.describe(tiny)
    assert str(found) == found.as_text()
    assert found.as_text().splitlines() == [
        f"{tiny}: tiny, protocol default",
        "",
        "users         4 in training",
        "items         5",
        "interactions  8 in training, 40 % of all pairs",
        "popularity    of the items, the most popular 1 % (1) have 37.5 %; the most popular 10 % (1) have 37.5 % of "
        "the interactions",
        "times         1970-01-01 00:00:00 to 1970-01-01 23:59:59 UTC",
        "",
        "validation    users who are not in the training: 1",
        "              shown: 4 each",
        "              to be found: 1 each",
        "test          users who are not in the training: 2",
        "              shown: 1 to 2, mean 1.5, median 1, 90 % have at most 2",
        "              to be found: 0 to 2, mean 1.0, median 0, 90 % have at most 2; left out of metrics, with nothing "
        "to be found: 1",
        "",
        "history       items of a training user: 0 to 5, mean 2.0, median 1, 90 % have at most 5",
        "                   0             1  ########################################",
        "                   1             1  ########################################",
        "              2 to 3             1  ########################################",
        "              4 to 7             1  ########################################",
        "",
        "left out      30 rows read, 20 interactions kept",
        "              kept: a value above 3.5; users with at least 2 items",
        "              2 rows of a user and item that another row replaces",
        "              2 interactions of held-out users with items that no training user has",
        "              cold items: 3",
        f"              note: {note}",
        "parameters    threshold 3.5, min_user_items 2, seed 1",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "s", "1970-01-01 00:00:00"),
        (1_427_784_002, "s", "2015-03-31 06:40:02"),
        (1_452_647_382_000, "ms", "2016-01-13 01:09:42"),
        (-1, "s", "1969-12-31 23:59:59"),
        (13_148, "D", "2005-12-31"),
        (12.5, "number", "12.5"),
        (10**18, "s", "1,000,000,000,000,000,000 s"),
    ],
)
def test_times_in_words(value: float, unit: str, expected: str) -> None:
    assert when(value, unit) == expected


def test_times_of_each_split(tiny: Path) -> None:
    parts = {"train": {"first": 1, "last": 2}, "test": {"first": 3, "last": 4}}
    text = data_prep.describe(finish(tiny, times=parts | {"unit": "D"})).as_text()
    assert "times         1970-01-02 to 1970-01-03 (train)\n              1970-01-04 to 1970-01-05 (test)\n" in text
    assert "times         not stored" in data_prep.describe(finish(tiny)).as_text()


def test_json_has_every_field(tiny: Path) -> None:
    found = json.loads(data_prep.describe(tiny).as_json())
    assert (found["users"], found["density"], found["lengths"]["bins"][2]) == (4, 0.4, [2, 3, 1])
    assert found["held_out"]["test"]["to_be_found"]["interactions"] == 2
    assert (found["parameters"]["threshold"], found["source_files"]) == (3.5, ["a.csv"])


@pytest.mark.parametrize(
    ("stored", "users", "of_training", "candidates"), [("data", 36, False, 0), ("pairs", 80, True, 21)]
)
def test_data_sets_of_the_first_format(stored: str, users: int, of_training: bool, candidates: int) -> None:
    found = data_prep.describe(ROOT / "tests" / "format_1" / stored)
    assert found.users == users == found.counts["train_users"]
    assert found.interactions == found.counts["train_events"]
    assert found.items == found.counts["train_items"]
    for part in found.held_out.values():
        assert (part.of_training_users, part.candidates) == (of_training, candidates)
        assert part.to_be_found.rows == found.counts["held_out_users"]


def test_the_picture_has_its_panels(tiny: Path, tmp_path: Path) -> None:
    figure = data_prep.describe(tiny).draw()
    assert [axes.get_title().partition(";")[0] for axes in figure.axes] == ["Lengths of histories", "Popularity"]
    bars, curve = figure.axes
    assert [bar.get_height() for bar in bars.patches] == [1, 1, 1, 1]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["0", "1", "2-3", "4-7"]
    assert (curve.get_xscale(), curve.get_yscale()) == ("log", "log")
    assert curve.lines[0].get_xydata().tolist() == [[1, 3], [2, 2], [3, 1], [4, 1], [5, 1]]
    histogram = {"edges": [0, 86_400, 172_800], "counts": [5, 3]}
    found = data_prep.describe(finish(tiny, times={"first": 0, "last": 172_800, "unit": "s", "histogram": histogram}))
    figure = found.draw()
    assert figure.axes[2].get_title() == "Interactions over time"
    assert [t.get_text() for t in figure.axes[2].get_xticklabels()] == ["1970-01-01", "1970-01-02", "1970-01-03"]
    assert_units(figure)
    found.save_picture(tmp_path / "d.png")
    height, width, _ = imread(tmp_path / "d.png").shape
    assert (width, height) == (1800, 540)
    found.save_picture(tmp_path / "d.svg")
    assert "Interactions over time" in (tmp_path / "d.svg").read_text()


def test_the_command(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tiny), "--picture", str(tmp_path / "d.png")]) == 0
    assert "users         4 in training" in capsys.readouterr().out
    assert (tmp_path / "d.png").stat().st_size > 1000
    assert main([str(tiny), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 5


@pytest.mark.parametrize(
    ("damage", "words", "expected"),
    [
        ("gone", (), "{}/none does not exist, expected the folder of a data set (--out of python -m data_prep)"),
        ("other folder", (), "{} is no data set: it has no manifest.json"),
        ("other manifest", (), "{} is no data set: manifest.json is another program's"),
        ("no json", (), "{}/manifest.json is damaged (Expecting value: line 1 column 1 (char 0)); prepare the data set "
         "again with --overwrite"),
        ("cut", (), "{} is damaged (train.indices.npy is missing or cut); prepare it again with --overwrite"),
        ("", ("--picture", "d.gif"), "--picture d.gif: the suffix is '.gif', expected one of .png, .svg, .pdf"),
        ("", ("--picture", "none/d.png"), "none/d.png: No such file or directory"),
    ],
)  # fmt: skip
def test_errors_are_one_line(
    damage: str, words: tuple[str, ...], expected: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny / "none" if damage == "gone" else tiny
    manifest = tiny / "manifest.json"
    if damage == "other folder":
        manifest.unlink()
    elif damage == "other manifest":
        manifest.write_text("{}")
    elif damage == "no json":
        manifest.write_text("oops")
    elif damage == "cut":
        (tiny / "train.indices.npy").write_bytes(b"")
    assert main([str(folder), *words]) == 2
    assert capsys.readouterr().err == f"error: {expected.format(tiny)}\n"


def test_the_package_imports_no_library_of_numbers() -> None:
    code = "import sys, data_prep; data_prep.describe; print(sorted(set(sys.modules) & {'numpy', 'pyarrow', 'yaml'}))"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, env=_environment(None), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("protocol", ["default", "leave-one-out", "time", "per-user"])
def test_a_data_set_of_every_protocol(protocol: str, prepare: Any, tmp_path: Path) -> None:
    rows = [(u, i, 5.0 if (u + i) % 3 else 1.0) for u in range(1, 30) for i in range(1, 16) if i != 1 + u % 15]
    times = "".join(f"{u},{i},{r},{1_600_000_000 + 977 * ((u * 7 + i) % 31)}\n" for u, i, r in rows)
    (tmp_path / "r.csv").write_text("userId,movieId,rating,timestamp\n" + times)
    data = prepare("csv", "--raw", tmp_path / "r.csv", "--protocol", protocol, "--negatives", "1")
    text = str(data_prep.describe(data.folder))
    assert f"protocol {protocol}" in text
    assert f"{len(rows)} rows read" in text
    assert "None" not in text
    assert ("a value above 3.5" in text) == (protocol != "leave-one-out")


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [("plays", ["0", "1", "2"], "a value above 0"), ("clicked", ["true", "false", "true"], "a value above 0"),
     ("rating", ["4", "5", "3"], "a value above 3.5"), ("note", ["a", "b", "c"], "kept: users with")],
)  # fmt: skip
def test_the_threshold_that_was_used_is_told(
    column: str, values: list[str], expected: str, prepare: Any, tmp_path: Path
) -> None:
    """Counts and labels are compared with 0; the manifest said 3.5 of every table."""
    rows = "".join(f"{u},{i},{values[(u + i) % 3]}\n" for u in range(30) for i in range(12))
    (tmp_path / "r.csv").write_text(f"user,item,{column}\n{rows}")
    data = prepare("table", "--raw", tmp_path / "r.csv", "--min-user-items", "2")
    assert expected in str(data_prep.describe(data.folder))
