"""Other processes of this host, by /proc: states, and the end of Open MPI's. Standard library only."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

SECONDS_TO_END = 10.0
"""What a rank may take to end the job, and Open MPI's process above it to end after it, before they are killed."""
NOTE = "RECSYS_LAUNCHER_NOTE"
"""Variable that names a file for the status of a job; `horovod_launch run` sets it for the ranks of its host."""
LAUNCHERS = ("mpirun", "mpiexec", "orterun", "orted")


def _status(pid: int) -> tuple[str, str, int]:
    """Name, state and parent of a process; the state is "" where it cannot be read."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        state, parent, *_ = after.split()
    except (OSError, ValueError):
        return "", "", 0
    return before.partition("(")[2], state, int(parent)


def parent_of(pid: int) -> int:
    """The process that started another one."""
    return _status(pid)[2]


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal or a debugger."""
    return _status(pid)[1] in ("T", "t")


def is_launcher(pid: int) -> bool:
    """Whether a process is one of Open MPI that starts ranks, and runs."""
    name, state, _ = _status(pid)
    return name.startswith(LAUNCHERS) and state not in ("", "Z", "X")


def passes(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition, not longer than some seconds; returns whether it came."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


def end_launcher(pid: int, status: int) -> None:
    """End Open MPI's process above a rank that has ended: it would wait for a host that cannot be reached.

    SIGKILL, because it answers SIGTERM only when it has heard of that host, or crashes. What it started over ssh ends
    with it.

    Args:
        status: of the job, for a launcher that started Open MPI's process and sees only that it was killed.
    """
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):  # it waits for the end of these, too
            os.dup2(nowhere.fileno(), stream)
    if passes(lambda: not is_launcher(pid), SECONDS_TO_END):
        return
    note = os.environ.get(NOTE)
    if note and not _status(pid)[0].startswith("orted"):  # its file is on the host of mpirun
        with contextlib.suppress(OSError):
            Path(note).write_text(str(status))
    all_pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    connections = [other for other in all_pids if _status(other)[0] == "ssh" and parent_of(other) == pid]
    for process in (pid, *connections):
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)
