"""The processes of a search: each worker is `python -m FAMILY.tune worker`, alone or on Horovod ranks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

WORKER = "worker"
"""The word after `python -m FAMILY.tune` that starts a worker."""
SECONDS_TO_END = 5.0


class WorkerEnded(Exception):
    """A worker ended in the middle of its work; says how."""


class WorkerProcess:
    """A worker, and the lines to and from it (see `worker`)."""

    def __init__(self, family: str, *, ranks: int, threads: int, log: Path, gpus: str | None = None) -> None:
        """`is_full` says that the worker has grown too much, and is to be started anew.

        Args:
            ranks: Horovod processes; 1 for a process without Horovod.
            threads: of each process.
            log: file that takes what the processes print.
            gpus: value of CUDA_VISIBLE_DEVICES; None to leave it.
        """
        self._log, self.is_full = log, False
        environment = dict(os.environ) | {"OMP_NUM_THREADS": str(threads)}
        if gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpus
        with log.open("a") as file:
            self._process = subprocess.Popen(
                _command(family, ranks),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the command, which then ends its workers
            )

    def send(self, values: Mapping[str, Any]) -> None:
        """Send a line.

        Raises:
            WorkerEnded: nobody reads it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(values) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise WorkerEnded(self._why()) from None

    def receive(self) -> dict[str, Any]:
        """The next line from it; others than JSON objects are left out, as those of a launcher.

        Raises:
            WorkerEnded: there is none any more.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                found = json.loads(line)
                if isinstance(found, dict):
                    return found
        raise WorkerEnded(self._why())

    def _why(self) -> str:
        """How it ended, with the last line of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return f"the worker ended with status {self._process.returncode}{f': {lines[-1][:200]}' if lines else ''}"

    def end(self) -> None:
        """End the process and its ranks."""
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()  # type: ignore[union-attr]
        for number in (signal.SIGTERM, signal.SIGKILL):  # mpirun ends its ranks on the first
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_END)
                return


def _command(family: str, ranks: int) -> list[str]:
    python = [sys.executable, "-m"]
    if ranks == 1:
        return [*python, f"{family}.tune", WORKER]
    return [*python, "horovod_launch", "run", "-np", str(ranks), f"{family}.tune", "--", WORKER]


def gpus_of(place: int, ranks: int) -> str | None:
    """The GPUs of a worker, as CUDA_VISIBLE_DEVICES has them; None where there are not enough to divide.

    Args:
        place: number of the worker, from 0.
    """
    found = list(_gpus())
    if len(found) <= ranks:
        return None
    first = place * ranks % (len(found) - len(found) % ranks)
    return ",".join(found[first : first + ranks])


def _gpus() -> Iterator[str]:
    """The GPUs that this process may use."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        yield from (name for name in given.split(",") if name.strip())
        return
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
        yield from (str(k) for k, line in enumerate(listed.splitlines()) if line.startswith("GPU "))
