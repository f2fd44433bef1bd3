"""Finds processes and shared memory that a command left behind, and runs functions at the same time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

MARK = "RECSYS_TEST_MARK"
"""Environment variable by which a test knows all descendants of what it started."""


def marked(mark: str) -> list[psutil.Process]:
    """Live processes that were started with MARK=mark, wherever they hang in the tree by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def of_repository(folder: Path) -> list[psutil.Process]:
    """Live servers and stubs whose command line names a model repository."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            if words and "triton" in Path(words[0]).name and any(str(folder) in word for word in words):
                found.append(process)
    return found


def shared_memory(prefix: str) -> set[str]:
    """Names in /dev/shm."""
    return {path.name for path in Path("/dev/shm").glob(f"{prefix}*")}


def in_use_by_others(names: set[str], mark: str) -> set[str]:
    """Names in /dev/shm that live processes without MARK=mark have mapped: other tests run at the same time."""
    found: set[str] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) != mark:
                maps = Path(f"/proc/{process.pid}/maps").read_text()
                found |= {name for name in names if f"/dev/shm/{name}" in maps}
    return found


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it holds within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def end(processes: list[psutil.Process]) -> None:
    """What a failed test leaves."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def run_at_once(jobs: list[Callable[[], None]]) -> None:
    """Run each job in a thread of its own, all at the same time."""
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
