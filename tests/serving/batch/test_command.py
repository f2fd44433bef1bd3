"""`serving batch` with real models: its answers are those of `recommend`; killed, divided, and on a full disk."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving import targets
from serving.__main__ import main
from serving.engines.engine import open_engine
from serving.export_folder import ExportFolder
from serving.recommend.recommender import Recommender
from serving.recommend.requests import Request
from tests.conftest import ROOT

SMALL = ("--part-rows", "2000")
"""Twenty users in a part."""


def _says(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["batch", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def _files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


@pytest.fixture(scope="module")
def written(vae: ExportFolder, artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole batch of all users, in parts."""
    folder = tmp_path_factory.mktemp("batch") / "out"
    assert main(["batch", "--export", str(vae.folder), "--out", str(folder), *SMALL]) == 0
    return folder


def _check_equal(found: pd.DataFrame, export: ExportFolder, artifacts: Path, users: list[Any]) -> None:
    """The rows of these users are the answers of the Recommender, but for ties within rounding."""
    made = targets.artifact(artifacts, "onnx-fp32")
    recommender = Recommender(export, open_engine(made), export.history_limit(made.target.signature))
    groups = dict(list(found.groupby("user")))
    for user in users:
        (answer,) = recommender.recommend([Request(user_id=user, k=export.top_k)])
        own = groups[user]
        assert own["rank"].tolist() == list(range(1, len(answer.scores) + 1))
        np.testing.assert_allclose(own["score"], answer.scores, rtol=1e-4, atol=1e-5)
        assert len(set(own["item"]) & set(answer.item_ids.tolist())) >= len(own) - 2


@pytest.mark.slow
def test_the_answers_are_those_of_recommend(written: Path, vae: ExportFolder, artifacts: dict[str, Path]) -> None:
    found = pd.read_parquet(written)
    assert found["user"].drop_duplicates().tolist() == vae.user_ids.tolist()
    assert found.dtypes.astype(str).to_dict() == {
        "user": "int64", "rank": "int32", "item": "int64", "score": "float32"
    } | ({"title": "object"} if any(vae.titles) else {})  # fmt: skip
    _check_equal(found, vae, artifacts["vae"], vae.user_ids.tolist())


@pytest.mark.slow
def test_ncf_answers_its_own_users(
    ncf: ExportFolder, artifacts: dict[str, Path], tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_export, of_data = tmp_path / "a.parquet", tmp_path / "b.parquet"
    assert _says(capsys, "--export", ncf.folder, "--out", of_export)[0] == 0
    assert _says(capsys, "--export", ncf.folder, "--out", of_data, "--data", tiny_pairs)[0] == 0
    found = pd.read_parquet(of_export)
    _check_equal(found, ncf, artifacts["ncf"], ncf.user_ids.tolist()[::7])
    pd.testing.assert_frame_equal(found, pd.read_parquet(of_data))


@pytest.mark.slow
def test_the_users_of_the_data_set_are_those_of_the_export(
    written: Path, vae: ExportFolder, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--export", vae.folder, "--out", tmp_path / "out", "--data", tiny_data, *SMALL)
    assert _says(capsys, *words)[0] == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out"), pd.read_parquet(written))


@pytest.mark.slow
def test_a_file_of_users_with_unknown_ones(
    written: Path, vae: ExportFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [*vae.user_ids[[50, 3, 7]].tolist(), 7_000_000_001]
    (tmp_path / "users.csv").write_text("user\n" + "\n".join(map(str, chosen)) + "\n")
    words = ("--export", vae.folder, "--users", tmp_path / "users.csv", "-k", "5")
    status, out, _ = _says(capsys, *words, "--out", tmp_path / "plain.csv")
    assert status == 0 and "15 recommendations for 3 of 4 users" in out
    assert "1 users got nothing" in out and str(tmp_path / "plain.unknown_users.csv") in out
    assert (tmp_path / "plain.unknown_users.csv").read_text() == "user,reason\n7000000001,no known item\n"
    found, everyone = pd.read_csv(tmp_path / "plain.csv"), pd.read_parquet(written)
    assert found["user"].drop_duplicates().tolist() == chosen[:3]
    expected = everyone[(everyone["user"] == chosen[0]) & (everyone["rank"] <= 5)]
    assert found["item"].tolist()[:5] == expected["item"].tolist()
    assert _says(capsys, *words, "--out", tmp_path / "popular.jsonl", "--popular")[0] == 0
    popular = pd.read_json(tmp_path / "popular.jsonl", lines=True)
    assert popular["source"].tolist() == ["model"] * 15 + ["popular"] * 5 and popular["user"].iloc[-1] == chosen[3]


@pytest.mark.slow
def test_histories_of_a_file_are_answered_as_items_of_a_request(
    vae: ExportFolder, artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = vae.item_ids[[4, 9, 2]].tolist()
    (tmp_path / "h.jsonl").write_text(f'{{"user": 5, "items": {items}}}\n{{"user": 6, "items": [987654321]}}\n')
    words = ("--export", vae.folder, "--histories", tmp_path / "h.jsonl", "--out", tmp_path / "o.csv", "-k", "10")
    status, out, err = _says(capsys, *words)
    assert status == 0 and "10 recommendations for 1 of 2 users" in out
    assert "note: 1 interactions of items that the model does not know are left out" in err
    engine = open_engine(targets.artifact(artifacts["vae"], "onnx-fp32"))
    (answer,) = Recommender(vae, engine).recommend([Request(item_ids=tuple(items), k=10)])
    assert pd.read_csv(tmp_path / "o.csv")["item"].tolist() == answer.item_ids.tolist()


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_byte_for_byte(written: Path, vae: ExportFolder, tmp_path: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "serving",
        "batch",
        "--export",
        str(vae.folder),
        "--out",
        str(tmp_path / "out"),
        *SMALL,
    ]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("part-*"))) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = len(list((tmp_path / "out").glob("part-*")))
    assert 3 <= there < len(list(written.glob("part-*")))
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and re.search(rf"going on: {there} of \d+ parts are there", done.stderr), done.stderr
    assert _files(tmp_path / "out") == _files(written)
    assert not list((tmp_path / "out").glob(".writing*"))


@pytest.mark.slow
def test_shares_and_processes_write_all_parts_once(
    written: Path, vae: ExportFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    words = ("--export", vae.folder, "--out", tmp_path / "out", *SMALL, "--threads", "1")
    status, out, _ = _says(capsys, *words, "--shard", "2/2", "--processes", "2")
    assert status == 0 and re.search(r"share 2/2 is written.*; (\d+) of \d+ parts are those of other shares", out)
    assert {int(p.stem[-5:]) % 2 for p in (tmp_path / "out").glob("part-*")} == {1}
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    status, out, _ = _says(capsys, *words)
    assert status == 0 and f"recommendations for {len(vae.user_ids)} of" in out
    found, expected = pd.read_parquet(tmp_path / "out"), pd.read_parquet(written)
    pd.testing.assert_frame_equal(found[["user", "rank"]], expected[["user", "rank"]])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4, atol=1e-5)
    status, _, err = _says(capsys, *words[:2], "--out", tmp_path / "one.csv")
    assert (status, err.count("\n")) == (2, 1) and "is a single file; share 1/2 of a batch needs a folder" in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_nothing_is_half_written(
    small_disk: Path, written: Path, vae: ExportFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--export", vae.folder, "--out", small_disk / "out", "--format", "csv", *SMALL)
    status, _, err = _says(capsys, *words)
    errors = [line for line in err.splitlines() if not line.endswith("...")]
    assert status == 2 and len(errors) == 1, err
    assert "No space left on device; the parts before it are whole" in errors[0] and "to go on" in errors[0]
    there = len(list((small_disk / "out").glob("part-*")))
    assert there and not list((small_disk / "out").rglob(".writing*"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    status, _, err = _says(capsys, *words)
    assert status == 0 and f"going on: {there} of" in err
    parts = sorted((small_disk / "out").glob("part-*"))
    found = pd.concat([pd.read_csv(p) for p in parts], ignore_index=True)
    assert found["item"].tolist() == pd.read_parquet(written)["item"].tolist()


@pytest.mark.slow
def test_a_store_is_read_as_it_is_when_the_batch_begins(
    written: Path, vae: ExportFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from serving.histories.events import Event
    from serving.histories.store import open_store

    address = f"sqlite:///{tmp_path / 'h.db'}"
    store = open_store(address, create=True)
    for row, user in enumerate(vae.user_ids[:30].tolist()):
        store.append([Event(user, item) for item in vae.item_ids[vae.histories.row(row)].tolist()])
    words = ("--export", vae.folder, "--store", address, "--out", tmp_path / "out", *SMALL)
    assert _says(capsys, *words)[0] == 0
    found, everyone = pd.read_parquet(tmp_path / "out"), pd.read_parquet(written)
    expected = everyone[everyone["user"].isin(found["user"])]
    assert found["user"].nunique() == 30
    assert found["item"].groupby(found["user"]).agg(set).to_dict().keys() == set(expected["user"])
    merged = found.merge(expected, on=["user", "item"], suffixes=("", "_expected"))
    assert len(merged) >= len(found) - 60
    np.testing.assert_allclose(merged["score"], merged["score_expected"], rtol=1e-4, atol=1e-5)
    (tmp_path / "out" / "part-00000.parquet").unlink()
    store.append([Event(2**40, vae.item_ids[0].item())])
    status, out, _ = _says(capsys, *words)
    assert status == 0 and "30 of 30 users" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-k", "0"), "-k is 0, expected 1 to"),
        (("-k", "101000"), "-k is 101000, expected 1 to"),
        (("-k", "40", "--model", "onnx-fp32"), "onnx-fp32 holds no model"),
        (("--allow", "none.txt"), "--allow none.txt does not exist"),
        (("--processes", "0"), "--processes is 0, expected 1 or more"),
        (("--shard", "3/2"), "--shard is '3/2'"),
        (("--users", "a.csv", "--histories", "b.csv"), "--users and --histories were both given"),
        (("--store", "a.db", "--data", "b"), "--store and --data were both given"),
        (("--data", "none"), "none is no prepared data set"),
        (("--store", "none.db"), "none.db"),
        (("--model", "onnx-bf16"), "onnx-bf16"),
    ],
)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ROOT / "tests" / "format_1" / "vae" / "export"
    status, out, err = _says(capsys, "--export", export, "--out", tmp_path / "out", *words)
    lines = [line for line in err.splitlines() if not line.endswith("...")]
    assert (status, out, len(lines)) == (2, "", 1) and message in lines[0], err
    assert not (tmp_path / "out").exists()


def test_the_batch_does_not_write_into_a_foreign_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    status, _, err = _says(capsys, "--export", ROOT / "tests" / "format_1" / "vae", "--out", tmp_path)
    assert status == 2 and "holds thesis.txt, and no batch to go on with" in err
    assert os.listdir(tmp_path) == ["thesis.txt"]
