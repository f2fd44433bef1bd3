"""The run folder is on the host of rank 0 only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import Command


@pytest.mark.ranks
def test_rank_1_asks_nothing_of_the_run_folder(tiny_pairs: Path, command: Command, tmp_path: Path) -> None:
    """Each rank asked its own disk whether a tower was trained, and a run with pre-training could not be resumed."""
    program = [sys.executable, "-m", "tests.ranks.files", tiny_pairs, tmp_path / "run"]
    done = command(
        ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", *program],
        env={"OMPI_MCA_mpi_yield_when_idle": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "rank 0: statuses [3, 0], asked []" in lines
    assert "rank 1: statuses [3, 0], asked []" in lines
