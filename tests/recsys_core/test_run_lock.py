"""The lock of a run folder: one holder of many that start at once, dead holders, lost locks. Without TensorFlow."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from recsys_core import run_lock
from recsys_core.errors import SharedError, UserError
from recsys_core.run_lock import DEAD_AFTER, LOCK, HeldError, Owner, RunLock
from recsys_core.world import World
from tests.conftest import ROOT

RACE = """
import os, sys
from pathlib import Path
from recsys_core.errors import UserError
from recsys_core.run_lock import RunLock

place, processes, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for trial in range(int(sys.argv[4])):
    folder = place / str(trial)
    if kind == "dead":  # a process that took the lock and was killed
        dead = os.fork()
        if not dead:
            RunLock(folder).acquire()
            os.kill(os.getpid(), 9)
        os.waitpid(dead, 0)
    start, end = os.pipe(), os.pipe()
    children = []
    for _ in range(processes):
        children.append(os.fork())
        if not children[-1]:
            os.close(start[1]), os.close(end[1])
            os.read(start[0], 1)  # all are let go at once
            try:
                RunLock(folder).acquire()
                won = 1
                os.read(end[0], 1)  # held until all have tried
            except UserError:
                won = 0
            os._exit(won)
    os.close(start[1])
    statuses = []
    for _ in range(processes - 1):  # the losers end by themselves
        statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
    os.close(end[1])
    statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
    print(sum(statuses), sorted(p.name for p in folder.iterdir()))
    os.close(start[0]), os.close(end[0])
"""


@pytest.mark.parametrize(("kind", "processes"), [("free", 2), ("free", 6), ("dead", 6)])
def test_of_many_that_start_at_once_one_is_let_in(kind: str, processes: int, tmp_path: Path) -> None:
    words = [sys.executable, "-c", RACE, str(tmp_path), str(processes), kind, "60"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["1 ['run.lock']"] * 60


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def written(folder: Path, **changes: object) -> Path:
    """A lock of this process, but for the changes."""
    folder.mkdir(exist_ok=True)
    path = folder / LOCK
    path.write_text(json.dumps(asdict(replace(Owner.this_process(), **changes))))  # type: ignore[arg-type]
    return path


def test_a_second_job_is_told_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    first = RunLock(tmp_path / "run")
    assert first.acquire() == ""
    held = json.loads((tmp_path / "run" / LOCK).read_text())
    assert (held["host"], held["pid"], held["job"]) == (socket.gethostname(), os.getpid(), "77")
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(held["since_unix_s"]))
    with pytest.raises(UserError) as caught:
        RunLock(tmp_path / "run").acquire()
    assert str(caught.value) == (
        f"{tmp_path / 'run'} is in use by process {os.getpid()} on {socket.gethostname()} since {since} (job 77); wait "
        "until it ends, or take another --run-dir"
    )
    first.release()
    assert not (tmp_path / "run").exists()  # it was made for the lock and holds nothing
    second = RunLock(tmp_path / "run")
    assert second.acquire() == ""
    (tmp_path / "run" / "run.json").write_text("{}")
    second.release()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_dead_holder_does_not_keep_it(tmp_path: Path, ended: int) -> None:
    written(tmp_path / "run", pid=ended, process_start="1")
    lock = RunLock(tmp_path / "run")
    assert lock.acquire().startswith(f"{tmp_path / 'run'} was left locked by process {ended} on {socket.gethostname()}")
    lock.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_later_process_of_the_same_number_is_another_one(tmp_path: Path) -> None:
    written(tmp_path / "run", process_start="12", token="other")
    assert "which has ended; this run takes it over" in RunLock(tmp_path / "run").acquire()


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 60
    while run_lock._process_start(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Path(f"/proc/{child.pid}").exists()  # nobody has waited for it yet
    written(tmp_path / "run", pid=child.pid, process_start="")
    assert "which has ended" in RunLock(tmp_path / "run").acquire()
    child.wait()


@pytest.mark.parametrize("changes", [{"host": "h2"}, {"space": "another boot"}, {"host": "h2", "pid": 1}])
def test_a_holder_on_another_host_is_dead_when_it_renews_no_more(tmp_path: Path, changes: dict[str, object]) -> None:
    path = written(tmp_path / "run", token="other", **changes)
    now = path.stat().st_mtime
    os.utime(path, (now, now - DEAD_AFTER + 20))
    with pytest.raises(UserError, match="the folder is free 180 s after its last sign of life; wait until it ends"):
        RunLock(tmp_path / "run").acquire()
    os.utime(path, (now, now - DEAD_AFTER - 1))
    lock = RunLock(tmp_path / "run")
    assert "which has ended" in lock.acquire()
    lock.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_damaged_lock_is_held_until_it_is_old(tmp_path: Path) -> None:
    path = written(tmp_path / "run")
    path.write_text("{")
    with pytest.raises(UserError, match=r"is in use by an unknown process \(its lock file cannot be read\)"):
        RunLock(tmp_path / "run").acquire()
    os.utime(path, (0, 0))
    assert "by an unknown process" in RunLock(tmp_path / "run").acquire()


def test_a_process_that_died_while_it_took_over_does_not_keep_it(tmp_path: Path, ended: int) -> None:
    path = written(tmp_path / "run", pid=ended, process_start="1")
    path.with_name(f"{LOCK}.takeover").write_text(path.read_text())
    path.with_name(f"{LOCK}.takeover.takeover").write_text(path.read_text())
    lock = RunLock(tmp_path / "run")
    assert "which has ended" in lock.acquire()
    assert [p.name for p in (tmp_path / "run").iterdir()] == [LOCK]
    lock.release()


def test_what_killed_processes_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "run")
    (tmp_path / "run").mkdir()
    for name in ("old", "new"):
        (tmp_path / "run" / f"{LOCK}.5@h2.{name}").touch()
    os.utime(tmp_path / "run" / f"{LOCK}.5@h2.old", (0, 0))
    lock.acquire()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {LOCK, f"{LOCK}.5@h2.new"}
    lock.release()


def test_a_process_that_hangs_while_it_takes_over_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "TAKEOVER_WAIT", 0.0)
    path = written(tmp_path / "run", pid=2**22, token="dead")
    guard = path.with_name(f"{LOCK}.takeover")
    guard.write_text(json.dumps(asdict(Owner.this_process())))
    with pytest.raises(HeldError) as caught:
        run_lock.take(path, Owner.this_process())
    assert caught.value.path == guard


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first = RunLock(tmp_path / "run")
    assert first.acquire() == ""
    with pytest.raises(UserError, match="is in use by process"):
        RunLock(tmp_path / "run").acquire()
    first.release()
    assert RunLock(tmp_path / "run").acquire() == ""


@pytest.fixture
def renewed_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(run_lock, "RENEWED_EVERY", 0.02)
    yield


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_is_renewed_while_it_is_held(tmp_path: Path, renewed_at_once: None) -> None:
    lock, path = RunLock(tmp_path / "run"), tmp_path / "run" / LOCK
    lock.acquire()
    os.utime(path, (0, 0))
    until(lambda: path.stat().st_mtime > 0)
    lock.check()
    lock.release()
    lock._renewing.join(60)
    assert not lock._renewing.is_alive()


def test_a_lost_lock_stops_its_former_holder_and_stays(tmp_path: Path, renewed_at_once: None) -> None:
    lock = RunLock(tmp_path / "run")
    lock.acquire()
    path = written(tmp_path / "run", host="h2", pid=5, token="other")
    until(lambda: lock.is_lost)
    with pytest.raises(UserError, match="is no longer locked by this job but by process 5 on h2 since .*; this job"):
        lock.check()
    lock.release()
    assert json.loads(path.read_text())["host"] == "h2"


def test_it_ends_with_its_block(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ZeroDivisionError), run_lock.held(tmp_path / "run", World(), said.append):
        (tmp_path / "run" / "run.json").write_text("{}")
        with pytest.raises(SharedError), run_lock.held(tmp_path / "run", World(), said.append):
            pass
        raise ZeroDivisionError
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["run.json"]
    assert said == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file/run cannot be made: Not a directory"):
        RunLock(tmp_path / "file" / "run").acquire()
