"""Running a part: a process with a time limit whose results are read while it runs, and its environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

RESULT = "RESULT "
SO_FAR = "SO FAR "
"""Mark of a line that a later one replaces; the last one counts if the process does not come to its end."""
Take = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a part ended."""

    state: str
    """done, failed, stopped (at its time limit), or left out."""
    reason: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        return self.state in ("failed", "stopped")


def torch_environment(env: Mapping[str, str]) -> dict[str, str]:
    """An environment for PyTorch: without this Python's folders (PYTHONPATH), and without the libraries in them.

    The GPU libraries of a packed TensorFlow are older than PyTorch's own.
    """
    folders = tuple(folder for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder)
    libraries = [p for p in env.get("LD_LIBRARY_PATH", "").split(os.pathsep) if p and not p.startswith(folders)]
    kept = {k: v for k, v in env.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "XLA_FLAGS", "VIRTUAL_ENV")}
    kept["PYTHONSAFEPATH"] = "1"  # modules beside the program do not stand for libraries of the same name
    return kept | ({"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {})


def tensorflow_environment(env: Mapping[str, str]) -> dict[str, str]:
    """An environment for TensorFlow: GPU memory is taken as it is needed, because processes share the GPU."""
    return {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2", **env}


def _decoded(text: str) -> dict[str, Any] | None:
    with contextlib.suppress(json.JSONDecodeError):
        found = json.JSONDecoder().raw_decode(text)[0]
        return found if isinstance(found, dict) else None
    return None


def _read(lines: IO[str], log: IO[str], take: Take) -> None:
    """Copy the lines to the log and hand the results on."""
    so_far = None
    for line in lines:
        log.write(line)
        log.flush()
        for mark in (RESULT, SO_FAR):
            _, found, text = line.partition(mark)
            values = _decoded(text) if found else None
            if values is not None and mark == RESULT:
                so_far = None
                take(values)
            elif values is not None:
                so_far = values
    if so_far is not None:
        take(so_far)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and those that it started: they are one process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(log: Path) -> str:
    """The last line of a log that says something, at most 200 characters."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"


def run(command: Sequence[str], *, limit_s: float, log: Path, env: Mapping[str, str], cwd: Path, take: Take) -> Outcome:
    """Run a command until it ends or its time is over.

    Args:
        log: file for all that the command prints.
        take: called with each result, as soon as it is printed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("w") as file:
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=dict(env),
                cwd=cwd, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return Outcome(state="failed", reason=f"{command[0]}: {error.strerror}")
        reader = threading.Thread(target=_read, args=(process.stdout, file, take), daemon=True)
        reader.start()
        stopped = False
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            stopped = True
        finally:
            _end(process)
            reader.join(10)
    seconds = time.monotonic() - start
    if stopped:
        return Outcome(state="stopped", reason=f"its {limit_s:.0f} s were over", seconds=seconds)
    if status:
        return Outcome(state="failed", reason=f"status {status}: {last_line(log)}", seconds=seconds)
    return Outcome(state="done", seconds=seconds)
