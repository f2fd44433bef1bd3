"""A CUDA MPS daemon for one command: kernels of several processes run on one GPU at the same time.

Its pipes and logs lie in a private directory, so that it does not use the daemon of another user. It has not been run
on a GPU. Tests start and stop it with a shell script in place of NVIDIA's program.
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
    """Run the daemon while the block runs, and set the environment variables by which child processes find it.

    Raises:
        RuntimeError: the program is not installed, or does not start; the message holds its output.
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
                output = (started.stdout + started.stderr).strip() or f"status {started.returncode}"
                raise RuntimeError(f"--mps: {CONTROL} -d: {output}")
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
