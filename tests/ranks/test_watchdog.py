"""Ranks that fall silent: they are named, and the job ends; a long computation or a short silence changes nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, _environment

pytestmark = pytest.mark.ranks
HOST = socket.gethostname()
LIMIT = 4
"""Seconds of silence after which the job ends."""
MPI = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2")
GLOO = ("horovodrun", "--gloo", "-np", "2")


class Job:
    """Two ranks of `tests.ranks.waiting`."""

    def __init__(self, folder: Path, launcher: tuple[str, ...]) -> None:
        (folder / "run.json").write_text("{}")
        self._folder, self.errors = folder, folder / "errors"
        environment = _environment({"RECSYS_SILENCE_SECONDS": str(LIMIT)})
        with self.errors.open("w") as file:
            self.process = subprocess.Popen(
                [*launcher, sys.executable, "-m", "tests.ranks.waiting", str(folder)],
                cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.wait(lambda: all(self.pid(rank) for rank in (0, 1)), "ranks that run")

    def wait(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not is_so():
            assert time.monotonic() < deadline, f"no {what}: {self.text()}"
            time.sleep(0.05)

    def text(self) -> str:
        return self.errors.read_text()

    def pid(self, rank: int) -> int:
        file = self._folder / f"pid-{rank}"
        return int(file.read_text() or 0) if file.exists() else 0

    def hold(self, seconds: int) -> None:
        """Let rank 0 hold Python's lock, and wait until it has done so."""
        (self._folder / "hold").write_text(str(seconds))
        self.wait(lambda: not (self._folder / "hold").exists(), "end of the holding")

    def freeze(self, rank: int) -> None:
        os.kill(self.pid(rank), signal.SIGSTOP)

    def thaw(self, rank: int) -> None:
        os.kill(self.pid(rank), signal.SIGCONT)


Start = Callable[[tuple[str, ...]], Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    jobs: list[Job] = []

    def started(launcher: tuple[str, ...]) -> Job:
        jobs.append(Job(tmp_path, launcher))
        return jobs[-1]

    yield started
    for job in jobs:
        for number in (signal.SIGCONT, signal.SIGKILL):
            for pid in [job.pid(0), job.pid(1)]:
                if pid and psutil.pid_exists(pid):
                    os.kill(pid, number)
        if job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGKILL)


def said(job: Job) -> list[str]:
    """Lines about silence, without what a launcher puts before them."""
    found = re.findall(r"(?:watchdog|error): .*", job.text())
    return [line for line in found if "rank" in line]


def test_a_frozen_rank_under_mpi(start: Start) -> None:
    """Without a watchdog the others waited for ever."""
    job = start(MPI)
    heartbeats = [child.pid for rank in (0, 1) for child in psutil.Process(job.pid(rank)).children()]
    assert len(heartbeats) == 2
    job.hold(LIMIT + 3)
    assert said(job) == []  # a rank that computes is not silent
    job.freeze(1)
    job.wait(lambda: "has been silent" in job.text(), "first word")
    job.thaw(1)
    job.wait(lambda: "is back" in job.text(), "word of the return")
    assert job.process.poll() is None
    job.freeze(1)
    assert job.process.wait(60) == 6
    named = f"rank 1 on {HOST}"
    causes = "(frozen, its host down, or the network cut)"
    lines = said(job)
    assert lines[0] == (
        f"watchdog: {named} has been silent for {LIMIT // 2} s {causes}; the job ends after {LIMIT} s "
        "(RECSYS_SILENCE_SECONDS)"
    )
    assert re.fullmatch(f"watchdog: {named} is back after [2-4] s", lines[1])
    run = job.errors.parent
    assert lines[3:] == [
        f"error: {named} was silent for {LIMIT} s {causes}; go on from the last checkpoint with --resume {run}"
    ]
    assert "Traceback" not in job.text()
    job.wait(lambda: not any(map(psutil.pid_exists, [*heartbeats, job.pid(0), job.pid(1)])), "end of the processes")


def test_a_frozen_rank_0_under_gloo(start: Start) -> None:
    """Gloo ended the job after 30 seconds with a traceback."""
    job = start(GLOO)
    job.freeze(0)
    assert job.process.wait(60) != 0
    assert [line for line in said(job) if line.startswith("error")] == [
        f"error: rank 0 on {HOST} was silent for {LIMIT} s (frozen, its host down, or the network cut); go on from the "
        f"last checkpoint with --resume {job.errors.parent}"
    ]
    job.wait(lambda: not any(psutil.pid_exists(job.pid(rank)) for rank in (0, 1)), "end of the ranks")
