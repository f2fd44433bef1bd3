"""Two publishers of one repository: real processes, one of which waits, is refused, or ends without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.triton.publish_lock import LOCK, publishing
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from serving.triton.publish_lock import publishing
with publishing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def _holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    process = subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    holder = _holder(tmp_path, 60)
    try:
        why = rf"in use by process {holder.pid} on .*; try again when it has ended$"
        with pytest.raises(ValueError, match=why), publishing(tmp_path, wait=0):
            pytest.fail("both hold it")
    finally:
        holder.kill()
        holder.communicate()


def test_the_second_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holder = _holder(tmp_path, 1.0)
    with publishing(tmp_path, wait=60):
        assert holder.wait(5) == 0
    assert f"process {holder.pid} on " in capsys.readouterr().err
    holder.communicate()
    assert not (tmp_path / LOCK).exists()


def test_a_dead_holder_does_not_keep_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holder = _holder(tmp_path, 60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert (tmp_path / LOCK).exists()
    start = time.monotonic()
    with publishing(tmp_path, wait=0):
        assert time.monotonic() - start < 5
    assert "which has ended" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(KeyError), publishing(tmp_path / "new"):
        raise KeyError
    assert not (tmp_path / "new").exists()
