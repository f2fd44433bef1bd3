"""A started job: signals are passed on to its ranks, and its ranks do not outlive the launcher."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
INTERRUPTED = 130
"""The shell's status for Ctrl-C."""
KILLED = 128
"""A process that signal N ended has the status 128 + N."""
NOTE = "RECSYS_LAUNCHER_NOTE"
"""Variable that names the file of a `Note` for the ranks."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Job(Protocol):
    """Ranks that run."""

    def tell(self, number: int) -> None:
        """Send a signal to all ranks."""

    def end(self) -> None:
        """End all ranks at once."""

    def wait(self) -> int:
        """Wait until all ranks have ended; the status is that of the first that failed, 0 if none did."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    status: int
    stopped: bool
    """Whether a signal had asked for the end."""


def dies_with(parent: int, number: int) -> Callable[[], None]:
    """A function for a new process that asks for a signal when its parent ends. Linux only.

    Args:
        parent: the process that calls this.
    """

    def ask() -> None:
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # it ended before the call
                os.kill(os.getpid(), number)

    return ask


class Note:
    """A file of this host for what a signal cannot tell.

    The launcher writes the name of the signal that it got, which it passes on as SIGUSR1; the watchdog of a rank writes
    the status of the job before it kills mpirun, which waits for a host that cannot be reached.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.gettempdir(), f"horovod-launch-{secrets.token_hex(8)}")

    def write(self, text: str) -> None:
        with suppress(OSError):
            self.path.write_text(text)

    def status(self) -> int:
        """The status of the job; 0 where none is noted."""
        try:
            text = self.path.read_text()
        except OSError:
            return 0
        return int(text) if text.isdigit() else 0

    def remove(self) -> None:
        with suppress(OSError):
            self.path.unlink()


class Mpirun:
    """A job that mpirun started."""

    def __init__(self, line: Sequence[str], env: Mapping[str, str], note: Note) -> None:
        self._note = note
        # In a session of its own: a terminal sends Ctrl-C to all processes in front, and mpirun would end its ranks.
        self._process = subprocess.Popen(
            line,
            env=env,
            stdin=subprocess.DEVNULL if sys.stdin is None or sys.stdin.isatty() else None,
            start_new_session=True,
            preexec_fn=dies_with(os.getpid(), signal.SIGTERM),
        )

    def tell(self, number: int) -> None:
        """mpirun passes SIGUSR1 on; after SIGTERM and SIGINT it ends its ranks itself."""
        self._process.send_signal(number)

    def end(self) -> None:
        self._process.terminate()

    def wait(self) -> int:
        status = self._process.wait()
        if status == -signal.SIGKILL:  # daemons on other hosts end their ranks by themselves; those of this host stay
            end_session(self._process.pid)
            return self._note.status() or shell_status(status)
        return shell_status(status)


def end_session(session: int) -> None:
    """Kill all processes of a session; on other systems than Linux, nothing."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(entry.name)) == session:
                os.kill(int(entry.name), signal.SIGKILL)


def shell_status(returncode: int) -> int:
    """The status of a process as a shell has it."""
    return returncode if returncode >= 0 else KILLED - returncode


def _say(text: str) -> None:
    """Write to stderr from a signal handler, which may have interrupted a write of Python's own stream."""
    with suppress(OSError):
        os.write(2, text.encode())


class _Forwarding:
    """Passes the signals of `STOPS` on to a job while it runs."""

    def __init__(self, job: Job, saves: bool, note: Note) -> None:
        self.job, self.saves, self.note = job, saves, note
        self.first: int | None = None
        """The first signal that came."""
        self._interrupts = 0

    def __call__(self, number: int, _frame: object) -> None:
        self.first = self.first or number
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            _say("\nending all ranks\n")
            self.job.end()
            return
        if number == signal.SIGINT and self.saves:
            _say("\nstopping all ranks; Ctrl-C again ends them at once\n")
        # SIGUSR1 is what mpirun passes on; ranks that train save a checkpoint and stop.
        self.note.write(signal.Signals(self.first).name)
        self.job.tell(signal.SIGUSR1 if self.saves else number)


@contextmanager
def _handled(handler: _Forwarding) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in STOPS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def supervise(job: Job, saves: bool, note: Note) -> Outcome:
    """Wait for a job, and pass SIGTERM, SIGINT and SIGUSR1 on to its ranks; a second SIGINT ends them at once.

    Args:
        saves: whether the ranks save a checkpoint and stop when SIGUSR1 comes; then every signal is sent as this one.

    Returns:
        The job's status; 130 after SIGINT; the shell's status of a signal that came before the ranks listened.
    """
    forwarding = _Forwarding(job, saves, note)
    try:
        with _handled(forwarding):
            status = job.wait()
    finally:
        note.remove()
    if forwarding.first is None:
        return Outcome(status, stopped=False)
    if forwarding.first == signal.SIGINT:
        return Outcome(INTERRUPTED, stopped=True)
    if status == KILLED + signal.SIGUSR1:
        name = signal.Signals(forwarding.first).name
        print(f"stopped by {name} before the ranks could save anything new", file=sys.stderr, flush=True)
        status = KILLED + forwarding.first
    return Outcome(status, stopped=True)
