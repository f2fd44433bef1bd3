"""The MPS daemon of our own is started, stopped and forgotten, with a small program in the daemon's place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serving.infer import mps

SCRIPT = """#!/bin/sh
echo "arguments: $*" >> "$MPS_LOG"
echo "pipe: $CUDA_MPS_PIPE_DIRECTORY" >> "$MPS_LOG"
echo "log: $CUDA_MPS_LOG_DIRECTORY" >> "$MPS_LOG"
if [ "$1" != -d ]; then echo "stdin: $(cat)" >> "$MPS_LOG"; fi
"""
PIPE, LOG = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the program in the daemon's place was told; the environment names someone else's pipes, and no logs."""
    _install(tmp_path, SCRIPT)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MPS_LOG", str(tmp_path / "log"))
    monkeypatch.setenv(PIPE, "/tmp/of-another")
    monkeypatch.delenv(LOG, raising=False)
    return tmp_path / "log"


def _install(folder: Path, script: str) -> None:
    program = folder / "nvidia-cuda-mps-control"
    program.write_text(script)
    program.chmod(0o755)


def _as_before() -> bool:
    return os.environ.get(PIPE) == "/tmp/of-another" and LOG not in os.environ


def test_started_and_stopped_in_a_folder_of_our_own(log: Path) -> None:
    with mps.daemon() as folder:
        assert os.environ[PIPE] == os.environ[LOG] == folder
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        assert Path(folder).stat().st_uid == os.getuid()
        start = log.read_text().splitlines()
        assert start == ["arguments: -d", f"pipe: {folder}", f"log: {folder}"]
    stop = log.read_text().splitlines()[len(start) :]
    assert stop == ["arguments: ", f"pipe: {folder}", f"log: {folder}", "stdin: quit"]
    assert not Path(folder).exists()
    assert _as_before()


def test_stopped_after_an_exception(log: Path) -> None:
    with pytest.raises(KeyError, match="ours"), mps.daemon() as folder:
        raise KeyError("ours")
    assert log.read_text().count("stdin: quit") == 1
    assert not Path(folder).exists()
    assert _as_before()


def test_a_start_that_fails_says_why(log: Path) -> None:
    _install(log.parent, SCRIPT + "echo 'An instance of this daemon is already running' >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match="already running"), mps.daemon():
        pytest.fail("the block ran")
    told = log.read_text()
    assert "arguments: -d" in told
    assert "quit" not in told, "what did not start is not ours to stop"
    assert not Path(told.splitlines()[1].removeprefix("pipe: ")).exists()
    assert _as_before()


def test_a_start_that_fails_silently_gives_its_status(log: Path) -> None:
    _install(log.parent, "#!/bin/sh\nexit 7\n")
    with pytest.raises(RuntimeError, match="status 7"), mps.daemon():
        pytest.fail("the block ran")
    assert _as_before()


def test_a_program_that_cannot_be_run_is_a_start_that_failed(log: Path) -> None:
    _install(log.parent, "\x7fELF, but not for this machine")
    with pytest.raises(RuntimeError, match="nvidia-cuda-mps-control"), mps.daemon():
        pytest.fail("the block ran")
    assert _as_before()


def test_a_stop_that_fails_harms_nobody(log: Path) -> None:
    _install(log.parent, SCRIPT + '[ "$1" = -d ] || exit 1\n')
    with mps.daemon() as folder:
        pass
    assert "stdin: quit" in log.read_text()
    assert not Path(folder).exists()
    assert _as_before()


def test_a_program_that_is_gone_by_then_does_not_hide_the_answer(log: Path) -> None:
    with pytest.raises(KeyError, match="ours"), mps.daemon():
        (log.parent / "nvidia-cuda-mps-control").unlink()
        raise KeyError("ours")
    assert _as_before()


def test_two_at_once_do_not_share(log: Path) -> None:
    with mps.daemon() as first:
        with mps.daemon() as second:
            assert first != second
            assert os.environ[PIPE] == second
        assert os.environ[PIPE] == os.environ[LOG] == first
    assert _as_before()


def test_without_the_program_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(PIPE, "/tmp/of-another")
    monkeypatch.delenv(LOG, raising=False)
    with pytest.raises(RuntimeError, match="nvidia-cuda-mps-control is not there"), mps.daemon():
        pytest.fail("the block ran")
    assert _as_before()
