"""A CUDA MPS daemon of our own: kernels of several processes on one GPU at the same time.

Its pipes and logs lie in a private directory, so that another user's daemon is never touched. Not run by us on a GPU;
starting, stopping and failing are tested with a program in the daemon's place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

CONTROL = "nvidia-cuda-mps-control"
VARIABLES = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")


@contextlib.contextmanager
def daemon() -> Iterator[str]:
    """Run the daemon while the block runs; child processes find it by their environment.

    Raises:
        RuntimeError: it is not installed, or does not start (with what it said).
    """
    if shutil.which(CONTROL) is None:
        raise RuntimeError(f"--mps: {CONTROL} is not there; it comes with NVIDIA's driver, on machines with a GPU")
    before = {name: os.environ.get(name) for name in VARIABLES}
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:  # mode 0700
        os.environ.update(dict.fromkeys(VARIABLES, folder))
        try:
            try:
                started = subprocess.run([CONTROL, "-d"], capture_output=True, text=True, timeout=30, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise RuntimeError(f"--mps: {CONTROL} -d: {error}") from None
            if started.returncode:
                said = (started.stdout + started.stderr).strip() or f"status {started.returncode}"
                raise RuntimeError(f"--mps: {CONTROL} -d: {said}")
            try:
                yield folder
            finally:
                with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                    subprocess.run([CONTROL], input="quit\n", capture_output=True, text=True, timeout=30, check=False)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
