"""Ranks whose hosts differ: every rank says so, by name, before anything is written."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Command
from tests.end_to_end.test_faults import _rewrite_manifest

pytestmark = pytest.mark.ranks
HERE = f"rank 1 on {socket.gethostname()}"
FIRST = f"rank 0 on {socket.gethostname()}"


@pytest.fixture(scope="module")
def copies(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders same-0 and same-1, fewer-0 and fewer-1 ..: the data set of rank 0, and what rank 1 has in its place."""
    folder = tmp_path_factory.mktemp("copies")
    for name in ("same", "fewer", "changed", "missing", "cut"):
        (folder / f"{name}-0").symlink_to(tiny_data)
        if name != "missing":
            shutil.copytree(tiny_data, folder / f"{name}-1")
    train = np.load(folder / "fewer-1" / "train.indptr.npy")
    indices = np.load(folder / "fewer-1" / "train.indices.npy")[: train[-2]]
    for file, array in (("train.indptr.npy", train[:-1]), ("train.indices.npy", indices)):
        np.save(folder / "fewer-1" / file, array)
        _rewrite_manifest(folder / "fewer-1", file)
    with (folder / "changed-1" / "train.indices.npy").open("r+b") as file:  # the manifest does not know of it
        file.seek(200)
        file.write(b"\xff")
    (folder / "cut-1" / "manifest.json").write_text("{")
    return folder


def test_what_differs_is_named(copies: Path, command: Command) -> None:
    """Ranks with other settings or data trained on without a word, hung, or ended with a traceback."""
    folders = [copies / f"{name}-{{rank}}" for name in ("same", "fewer", "changed", "missing", "cut")]
    program = [sys.executable, "-m", "tests.ranks.agree", *folders]
    start = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "1"]
    done = command(
        [*start, *program, ":", "-np", "1", "env", "TF_ENABLE_ONEDNN_OPTS=0", "NVIDIA_TF32_OVERRIDE=1", *program]
    )
    users = json.loads((copies / "same-1" / "manifest.json").read_text())["counts"]["train_users"]
    manifest = f"{copies}/cut-1/manifest.json"
    assert done.stdout.splitlines() == [
        f"all ranks: TF_ENABLE_ONEDNN_OPTS is 0 for {HERE}, 1 for {FIRST}; NVIDIA_TF32_OVERRIDE is 1 for {HERE}, "
        f"not set for {FIRST}; all ranks need the same",
        "all ranks: no error",
        f"all ranks: the data set of {HERE} has {users - 1:,} training users ({users:,} for {FIRST}); "
        "copy the same data set to every host",
        f"all ranks: {HERE}: {copies}/changed-1 is damaged: train.indices.npy is not what was written; "
        "prepare the data set again",
        f"all ranks: {HERE}: {copies}/missing-1 is no prepared data set (no manifest.json); "
        "make one with: python -m data_prep",
        f"all ranks: {HERE}: {manifest} is damaged (JSONDecodeError('Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)')); prepare the data set again",
    ]
    assert done.returncode == 0, done.stderr
