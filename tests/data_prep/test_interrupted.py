"""Ctrl-C and SIGTERM while the real command works, errors before a long source is hashed, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_prep.write import store
from tests.conftest import ROOT, _environment

from .conftest import random_rows, write_csv

LIMIT_S = 120
ENVIRONMENT = _environment({"PYTHONPATH": str(ROOT)})


def undo_ignored_ctrl_c() -> None:
    """Undo what a shell does for jobs in the background: their children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The command, with errors and output as texts."""
    command = [sys.executable, "-m", "data_prep", "table", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, preexec_fn=undo_ignored_ctrl_c, cwd=folder, env=ENVIRONMENT, text=True, **pipes)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A source that is read for seconds."""
    folder = tmp_path_factory.mktemp("large")
    with (folder / "r.csv").open("wb") as file:
        file.write(b"user,item\n")
        for _ in range(30):
            file.write(b"abc,defghi\nabd,defghj\n" * 300_000)
    yield folder
    (folder / "r.csv").unlink()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle(number: int, status: int, large: Path) -> None:
    with started(large, "--raw", "r.csv", "--out", "new/sub/out") as process:
        until = time.monotonic() + LIMIT_S
        while not list((large).glob("new/sub/.out.rows-*")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status, out + err
    assert err.strip() == "interrupted; nothing was left behind"
    assert [p.name for p in large.iterdir()] == ["r.csv"]


def test_stopped_while_libraries_are_imported(tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", random_rows())
    code = (
        "import os, signal, sys, threading, data_prep.__main__ as command\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'pandas._libs':\n"
        "            sys.meta_path.remove(finder)\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "finder = Finder()\n"
        "sys.meta_path.insert(0, finder)\n"
        f"sys.exit(command.main(['table', '--raw', {str(raw)!r}, '--out', 'out']))\n"
    )
    pipes = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": LIMIT_S}
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=undo_ignored_ctrl_c, cwd=tmp_path, **pipes)
    assert (done.returncode, done.stderr.strip()) == (130, "interrupted; nothing was left behind")
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_an_error_does_not_wait_for_the_hash_of_the_source(tmp_path: Path) -> None:
    """Half a tebibyte, almost all of it a hole, takes minutes to be hashed."""
    rows = b"user,item\n" + b"a,b\n" * 400_000  # more than the first rows, which are looked at before
    with (tmp_path / "r.csv").open("wb") as file:
        file.write(rows)
        file.truncate(1 << 39)
    with started(tmp_path, "--raw", "r.csv", "--out", "out", "--memory", "100GiB") as process:
        _, err = process.communicate(timeout=LIMIT_S)
    (tmp_path / "r.csv").unlink()
    assert (process.returncode, err.count("\n")) == (2, 1)
    assert "r.csv: a line of more than 64 MiB" in err


@pytest.mark.parametrize("content", ["user,item\n1,2\n", "user,item,rating\n" + "1,2,3\n" * 30_000 + "1,2,x\n"])
def test_folders_that_were_made_go_again(content: str, refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(content)
    refuse("table", "--raw", tmp_path / "r.csv", out=("some", "where", "out"))


def test_a_place_that_cannot_be_written(refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", random_rows())
    told = f"out cannot be written: {raw} is a file; choose a folder that can"
    assert told in refuse("table", "--raw", raw, out=("r.csv", "out"))


def test_the_data_set_is_there_again_if_its_replacement_fails(
    prepare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_csv(tmp_path / "r.csv", random_rows())
    before = prepare("table", "--raw", raw).content()
    rename = Path.rename

    def stopped(self: Path, target: Path) -> Path:
        if ".writing-" in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    from data_prep.__main__ import main

    assert main(["table", "--raw", str(raw), "--seed", "3", "--overwrite", "--out", str(tmp_path / "out")]) == 130
    assert {p.name for p in tmp_path.iterdir()} == {"r.csv", "out"}
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_leftovers_of_a_replacement_are_removed(tmp_path: Path) -> None:
    gone = subprocess.run(["true"], check=True)
    assert gone.returncode == 0
    name = store.working_name(tmp_path / "out", "replaced").replace(str(os.getpid()), "999999999")
    (tmp_path / name).mkdir()
    store.remove_leftovers(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_an_object_is_deleted(number: int, tmp_path: Path) -> None:
    """What is raised then is reported and forgotten: the signal has to be sent again."""
    raw = write_csv(tmp_path / "r.csv", random_rows())
    code = (
        "import os, sys, time, data_prep.__main__ as command\n"
        "def rows():\n"
        "    try:\n"
        "        yield\n"
        "    finally:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        time.sleep(0.2)\n"
        "def run(args):\n"
        "    opened = rows()\n"
        "    next(opened)\n"
        "    del opened\n"
        "    time.sleep(20)\n"
        "command._run = run\n"
        f"sys.exit(command.main(['table', '--raw', {str(raw)!r}, '--out', 'out']))\n"
    )
    pipes = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": LIMIT_S}
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=undo_ignored_ctrl_c, cwd=tmp_path, **pipes)
    assert (done.returncode, done.stderr.strip()) == (128 + number, "interrupted; nothing was left behind")
