"""What users and their machines get wrong: titles that several items share, and stores that are down."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from serving.__main__ import main
from serving.export_folder import ExportFolder
from serving.histories.events import Event
from serving.histories.store import open_store
from tests.conftest import ROOT
from tests.data_prep.read.postgresql_server import free_port
from tests.serving import other_ids

STORED = ROOT / "tests" / "format_1" / "vae" / "export"
TITLES = ("Twins (1988)", "Twins (1988)", "Heat (1995)")
"""Of the items 1, 2 and 4."""


def _says(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, list[str]]:
    """Status, stdout, and the lines of stderr but those of progress."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, [line for line in err.splitlines() if not line.endswith("...")]


def test_a_title_that_two_items_share_names_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = other_ids.copy(STORED, tmp_path / "export", titles=TITLES)
    status, out, lines = _says(capsys, "recommend", "--export", export, "--titles", "twins")
    assert (status, out) == (2, "")
    assert lines == [
        'error: 2 items match the title "twins"; give the id of one:',
        '  id 1: "Twins (1988)"',
        '  id 2: "Twins (1988)"',
    ]


def test_items_without_attributes_name_the_flag_that_brings_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--items", 1, "--where", "genre = 'Drama'"]
    status, _, lines = _says(capsys, "recommend", "--export", STORED, *words)
    assert status == 2 and lines[0].endswith("title, count; further ones come from --items-table FILE")


def test_similar_takes_the_flags_of_recommend_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = other_ids.copy(STORED, tmp_path / "export", titles=TITLES)
    assert _says(capsys, "similar", "--export", export, "--titles", "twins")[2][0].startswith("error: 2 items match")
    assert "no item has the id '999999'" in _says(capsys, "similar", "--export", export, "--items", 999999)[2][0]


@pytest.mark.parametrize("command", ["recommend", "batch"])
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_store_that_is_down_is_one_line(
    command: str, scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg" if scheme == "postgresql" else "redis")
    address = f"{scheme}://127.0.0.1:{free_port()}/0"
    words = ["--user", 1] if command == "recommend" else ["--out", tmp_path / "out", "--popular"]
    status, out, lines = _says(capsys, command, "--export", STORED, "--store", address, *words)
    assert (status, out, len(lines)) == (2, "", 1)
    assert lines[0].startswith(f"error: the store {address.replace('/0', '')}") and "does not answer" in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_batch_whose_store_goes_away_stops_and_goes_on_when_it_is_back(
    vae: ExportFolder, artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--popular is for users without a history, not for those whose history could not be read."""
    path, users = tmp_path / "h.db", vae.user_ids[:40].tolist()
    items = vae.item_ids.tolist()
    open_store(f"sqlite:///{path}", create=True).append([Event(u, items[k]) for k, u in enumerate(users)])
    words = ["batch", "--export", vae.folder, "--models", artifacts["vae"], "--store", f"sqlite:///{path}", "-k", 5]
    words += ["--out", tmp_path / "out", "--part-rows", 50, "--popular"]
    assert _says(capsys, *words)[0] == 0
    whole = pd.read_parquet(tmp_path / "out")
    assert set(whole["source"]) == {"model"} and len(whole) == 200
    parts = sorted((tmp_path / "out").glob("part-*.parquet"))
    parts[1].unlink()
    path.rename(tmp_path / "away.db")
    status, _, lines = _says(capsys, *words)
    assert status == 2 and len(lines) == 1 and "h.db" in lines[0], lines
    assert sorted((tmp_path / "out").glob("part-*.parquet")) == [parts[0], *parts[2:]]
    (tmp_path / "away.db").rename(path)
    assert _says(capsys, *words)[0] == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), whole)
