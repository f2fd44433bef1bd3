"""Starts the process of a shadowed candidate (`worker`) and asks it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serving.recommend.requests import Request
from serving.triton.loading import Placement
from serving.triton.shadow.worker import encode_requests

LOAD_SECONDS, ANSWER_SECONDS = 300.0, 30.0
"""How long the candidate may take to load, and to answer a call."""


class CandidateError(Exception):
    """The candidate failed in one call; the next call may be answered."""


class CandidateEndedError(Exception):
    """The process of the candidate has ended, or does not answer; it cannot be asked any more."""


def _python() -> str:
    """The interpreter. Inside Triton's Python backend `sys.executable` may be another program, or nothing."""
    if sys.executable and Path(sys.executable).name.startswith("python"):
        return sys.executable
    return shutil.which("python3") or "python3"


class Candidate:
    """A candidate that runs in a process of its own, so that it can neither stop nor block the served model."""

    def __init__(self, folder: Path, placement: Placement) -> None:
        """Start the process; `wait_ready` waits until the candidate is loaded.

        Args:
            folder: REPOSITORY/NAME/N.
        """
        ours, theirs = socket.socketpair()
        command = [_python(), "-m", "serving.triton.shadow.worker", str(theirs.fileno()), str(folder)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with theirs:
            self._process = subprocess.Popen(
                [*command, json.dumps(asdict(placement))],
                env=env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self._socket, self._stream = ours, ours.makefile("rw", encoding="utf-8")

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """
        Raises:
            CandidateEndedError: it could not be loaded, or not in time.
        """
        self._socket.settimeout(LOAD_SECONDS)
        try:
            self._read()
        except CandidateError as error:
            raise CandidateEndedError(str(error)) from None
        self._socket.settimeout(ANSWER_SECONDS)

    def _read(self) -> Mapping[str, Any]:
        try:
            line = self._stream.readline()
        except TimeoutError:
            raise CandidateEndedError(f"no answer in {self._socket.gettimeout():g} s") from None
        except OSError:  # the connection is reset if what the process was sent last was not read
            line = ""
        if not line:
            raise CandidateEndedError(f"its process ended with status {self._status()}")
        content = json.loads(line)
        if "error" in content:
            raise CandidateError(content["error"])
        return content

    def _status(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(5)
        return None

    def ask(self, requests: Sequence[Request]) -> tuple[float, list[Mapping[str, Any]]]:
        """Seconds that the candidate took, and "items" and "source" of its answer to each request.

        Raises:
            CandidateError, CandidateEndedError
        """
        try:
            self._stream.write(encode_requests(requests) + "\n")
            self._stream.flush()
        except OSError:
            raise CandidateEndedError(f"its process ended with status {self._status()}") from None
        content = self._read()
        return float(content["seconds"]), content["answers"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for each in (self._stream, self._socket):
            with contextlib.suppress(OSError):
                each.close()
