"""Every source format, as its source writes it; many ranks; re-runs; downloads."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_prep.__main__ import main
from data_prep.catalog import entries
from data_prep.catalog.download import download
from data_prep.catalog.entry import Download

from .conftest import MATRICES, Prepared, Row, random_rows, write_csv

ROWS = [(u, i, float(int(r) or 1)) for u, i, r in random_rows(60, 20)]


def netflix_text(rows: list[Row]) -> str:
    """Rows as Netflix has them: a header a movie, ascending."""
    lines = []
    for movie in sorted({i for _, i, _ in rows}):
        lines.append(f"{movie}:")
        lines += [f"{u},{int(r)},2005-09-06" for u, i, r in rows if i == movie]
    return "\n".join(lines) + "\n"


def same(one: Prepared, two: Prepared) -> bool:
    return all(one.pairs(m) == two.pairs(m) for m in MATRICES)


@pytest.fixture
def expected(prepare: Any, tmp_path: Path) -> Prepared:
    return prepare("csv", "--raw", write_csv(tmp_path / "plain.csv", ROWS), out="expected")


def test_movielens_formats_agree(prepare: Any, expected: Prepared, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("ml-100k", "ml-1m", "ml-20m")}
    for folder in folders.values():
        folder.mkdir()
    (folders["ml-100k"] / "u.data").write_text("".join(f"{u}\t{i}\t{int(r)}\t8\n" for u, i, r in ROWS))
    (folders["ml-1m"] / "ratings.dat").write_text("".join(f"{u}::{i}::{int(r)}::8\n" for u, i, r in ROWS))
    write_csv(folders["ml-20m"] / "ratings.csv", ROWS)
    for name, folder in folders.items():
        assert same(prepare(name, "--raw", folder, "--held-out-users", "0.1", out=f"o-{name}"), expected)


def test_known_data_sets_say_when_counts_differ(
    prepare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(tmp_path / "ratings.csv", ROWS)
    prepare("ml-20m", "--raw", tmp_path / "ratings.csv", "--held-out-users", "5")
    assert f"note: ml-20m: {len(ROWS):,} rows read, 20,000,263 expected" in capsys.readouterr().out


def test_parquet_with_and_without_ratings(prepare: Any, expected: Prepared, tmp_path: Path) -> None:
    table = pd.DataFrame(ROWS, columns=["who", "what", "stars"])
    table.to_parquet(tmp_path / "r.parquet", row_group_size=100)
    names = ("--user-column", "who", "--item-column", "what")
    assert same(
        prepare("parquet", "--raw", tmp_path / "r.parquet", *names, "--rating-column", "stars", out="p"), expected
    )
    words = ("--rating-column", "none", "--min-user-items", "1")
    implicit = prepare("parquet", "--raw", tmp_path / "r.parquet", *names, *words, out="q")
    assert implicit.manifest["counts"]["events"] == len(ROWS)


@pytest.mark.parametrize("form", ["combined", "folder", "tar in tar"])
def test_netflix_forms_agree(form: str, prepare: Any, expected: Prepared, tmp_path: Path) -> None:
    raw = tmp_path / "nf"
    raw.mkdir()
    movies = sorted({i for _, i, _ in ROWS})
    if form == "combined":
        for k, part in enumerate((movies[:7], movies[7:])):
            (raw / f"combined_data_{k + 1}.txt").write_text(netflix_text([r for r in ROWS if r[1] in part]))
    else:
        files = {f"mv_{m:07d}.txt": netflix_text([r for r in ROWS if r[1] == m]) for m in movies}
        if form == "folder":
            for name, content in files.items():
                (raw / name).write_text(content)
        else:
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for name, content in files.items():
                    info = tarfile.TarInfo(f"training_set/{name}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content.encode()))
            raw = tmp_path / "nf_prize_dataset.tar.gz"
            with tarfile.open(raw, "w:gz") as tar:
                info = tarfile.TarInfo("download/training_set.tar")
                info.size = len(inner.getvalue())
                tar.addfile(info, io.BytesIO(inner.getvalue()))
    assert same(prepare("netflix", "--raw", raw, "--held-out-users", "0.1", out="nf-out"), expected)
    assert not list(tmp_path.glob(".unpacked-*"))


def test_a_zip_is_read_as_its_folder(prepare: Any, expected: Prepared, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "ml-20m.zip", "w") as archive:
        archive.write(write_csv(tmp_path / "x.csv", ROWS), "ml-20m/ratings.csv")
    assert same(prepare("ml-20m", "--raw", tmp_path / "ml-20m.zip", "--held-out-users", "0.1", out="z"), expected)
    assert not list(tmp_path.glob(".unpacked-*"))


def test_a_second_run_is_instant_and_touches_nothing(
    prepare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    stamp = (prepare("csv", "--raw", raw).folder / "manifest.json").stat().st_mtime_ns
    os.utime(raw, (1, 1))  # an untouched copy has another time and the same content
    again = prepare("csv", "--raw", raw)
    assert (again.folder / "manifest.json").stat().st_mtime_ns == stamp
    assert "already prepared" in capsys.readouterr().out


def test_another_parameter_is_another_data_set(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    prepare("csv", "--raw", raw)
    message = refuse("csv", "--raw", raw, "--threshold", "2", out=("out",))
    assert "holds another data set (threshold: 3.5 there, 2.0 asked)" in message
    write_csv(raw, ROWS[:-1])
    assert "the source files differ" in refuse("csv", "--raw", raw, out=("out",))
    assert prepare("csv", "--raw", raw, "--threshold", "2", "--overwrite").manifest["parameters"]["threshold"] == 2


@pytest.mark.ranks
@pytest.mark.parametrize("name", ["netflix", "csv", "parquet"])
def test_ranks_write_the_same_bytes(name: str, prepare: Any, command: Any, tmp_path: Path) -> None:
    if name == "netflix":
        raw = tmp_path / "combined_data_1.txt"
        raw.write_text(netflix_text(ROWS))
    elif name == "csv":
        raw = write_csv(tmp_path / "r.csv", ROWS)
    else:
        raw = tmp_path / "r.parquet"
        pd.DataFrame(ROWS, columns=["userId", "movieId", "rating"]).to_parquet(raw, row_group_size=100)
    words = [name, "--raw", raw, "--held-out-users", "4"]
    alone = prepare(*words)
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "3", "python", "-m", "data_prep"]
    done = command([*mpirun, *words, "--out", tmp_path / "ranks"])
    assert done.returncode == 0, done.stderr
    assert Prepared(tmp_path / "ranks").content() == alone.content()


@pytest.mark.ranks
def test_bad_input_ends_every_rank(command: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    raw.write_text(raw.read_text() + "12,cut")
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "3", "python", "-m", "data_prep"]
    done = command([*mpirun, "csv", "--raw", raw, "--out", tmp_path / "out"], timeout=60)
    assert done.returncode == 2
    assert f"line {len(ROWS) + 2}: 2 columns instead of 4" in done.stderr
    assert not (tmp_path / "out").exists()


class _Server(http.server.SimpleHTTPRequestHandler):
    """A file server with ranges, which hangs up in the middle of the first whole answer."""

    content, hang_up = b"x" * 300_000 + b"end", True

    def do_GET(self) -> None:
        if self.path.endswith(".md5"):
            digest = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
            self._answer(200, f"MD5 (data.zip) = {digest}\n".encode())
        elif asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            self._answer(206, self.content[start:])
        else:
            self._answer(200, self.content, cut=100_000 if self.hang_up else None)

    def _answer(self, status: int, body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/data.zip"
        running.shutdown()


def test_a_broken_download_goes_on_where_it_stopped(server: str, tmp_path: Path) -> None:
    target = tmp_path / "data.zip"
    with pytest.raises(ValueError, match=r"cannot download .* 100000 bytes are kept, run again to go on"):
        download(server, target, None)
    assert not target.exists()
    download(server, target, None)
    assert target.read_bytes() == _Server.content
    os.utime(target, (5, 5))
    download(server, target, None)
    assert target.stat().st_mtime == 5  # a matching file is kept


def test_download_prepares_and_is_not_repeated(
    server: str, prepare: Any, expected: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(write_csv(tmp_path / "x.csv", ROWS), "ml-latest-small/ratings.csv")
    monkeypatch.setattr(_Server, "content", archive.getvalue())
    monkeypatch.setattr(_Server, "hang_up", False)
    url = server.replace("data.zip", "ml-latest-small.zip")
    entry = replace(entries.load("ml-latest-small"), downloads=(Download(url=url),))
    monkeypatch.setattr(entries, "load", lambda name: entry)
    assert same(prepare("ml-latest-small", "--download", out="d"), expected)
    (tmp_path / "ml-latest-small.zip").unlink()
    monkeypatch.setattr(_Server, "content", b"gone")
    assert same(prepare("ml-latest-small", "--download", out="d"), expected)


def test_a_wrong_checksum_is_refused(server: str, tmp_path: Path) -> None:
    (tmp_path / "data.zip.part").write_bytes(b"y" * 200_000)
    with pytest.raises(ValueError, match=r"checksum .* instead of .*the damaged file was removed"):
        download(server, tmp_path / "data.zip", None)
    assert not list(tmp_path.iterdir())


def test_an_unreachable_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot download http://127.0.0.1:9/x.zip .*name it with --raw"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", "0" * 32)


def test_synthetic_raw_rows_prepare_like_a_source(prepare: Any, tmp_path: Path) -> None:
    raw = tmp_path / "raw" / "ratings.csv"
    assert main(["synthetic", "--like", "tiny", "--write-csv", str(raw)]) == 0
    table = pd.read_csv(raw)
    assert not table.duplicated(["userId", "movieId"]).any()
    assert table["rating"].isin([k / 2 for k in range(1, 11)]).all()
    assert table["userId"].nunique() == 600
    assert abs(len(table) / 30_000 - 1) < 0.05
    from_file = prepare("ml-latest-small", "--raw", raw.parent, "--held-out-users", "20", out="a")
    drawn = prepare("synthetic", "--like", "tiny", "--held-out-users", "20", out="b")
    assert same(from_file, drawn)
