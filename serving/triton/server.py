"""Starts and stops Triton: the installed server (NVIDIA's container), else that of the package nvidia-pytriton.

The package holds NVIDIA's tritonserver with the Python backend. It also runs on machines without a GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import importlib.util
import os
import re
import shutil
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.triton.client import KEY_HEADER
from serving.triton.repository import write_new_key

INSTALLED_BACKENDS = Path("/opt/tritonserver/backends")
READY_SECONDS = 120.0
"""Longest time from the start of the server until it is ready."""
PR_SET_PDEATHSIG = 1
"""Linux: option of prctl(2)."""
ERROR_LINE = re.compile(r"^E\d{4} [\d:.]+ \d+ \S+\] ")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports that the server listens on."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A server program, the folder of its backends, and the folders of its libraries."""

    program: Path
    backends: Path
    libraries: tuple[Path, ...]


def _package() -> Path | None:
    """The nvidia-pytriton package's folder, without importing it."""
    found = importlib.util.find_spec("pytriton")
    return Path(found.origin).parent if found is not None and found.origin else None


def _copy_python_backend(package: Path, scratch: Path) -> Path:
    """Copy the Python backend and the stub of this Python version to a folder; returns the folder of backends."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    server = package / "tritonserver"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise ValueError(f"nvidia-pytriton has no Python backend for Python {version}")
    shutil.copytree(server / "backends" / "python", scratch / "python")
    shutil.copy2(stub, scratch / "python" / stub.name)
    (scratch / "python" / stub.name).chmod(0o755)
    return scratch


def find_installation(scratch: Path) -> Installation:
    """The server program of this machine.

    Args:
        scratch: an empty folder; the Python backend of nvidia-pytriton is copied to it.

    Raises:
        ValueError: there is no server; the message tells how to install one.
    """
    installed = shutil.which("tritonserver")
    if installed and INSTALLED_BACKENDS.is_dir():
        return Installation(program=Path(installed), backends=INSTALLED_BACKENDS, libraries=())
    package = _package()
    if package is None:
        raise ValueError(
            "no Triton server: pip install nvidia-pytriton==0.7.0 (extra `triton` of this project), or work in "
            "NVIDIA's tritonserver container"
        )
    program = package / "tritonserver" / "bin" / "tritonserver"
    libraries = (package.parent / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR")))
    return Installation(program=program, backends=_copy_python_backend(package, scratch), libraries=libraries)


def _environment(installation: Installation) -> dict[str, str]:
    env = dict(os.environ)
    # The stub embeds its own Python interpreter, which needs the paths of this package and of the installed packages.
    paths = [str(Path(__file__).resolve().parents[2]), *site.getsitepackages()]
    env["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [env.get("PYTHONPATH")])])
    env.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # Triton's own backends multiply float32 in TF32 unless told otherwise
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    if installation.libraries:
        libraries = [str(p) for p in installation.libraries]
        env["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, *filter(None, [env.get("LD_LIBRARY_PATH")])])
    return env


def _command(
    installation: Installation, repository: Path, host: str, ports: Ports, prefix: str, load: str, verbose: bool
) -> list[str]:
    # A client that can load models can run code, so these interfaces require a key that only the repository's owner can
    # read.
    restricted = f"model-repository,shared-memory,logging,trace:{KEY_HEADER}={write_new_key(repository)}"
    return [
        str(installation.program),
        f"--model-repository={repository.absolute()}",
        f"--backend-directory={installation.backends}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--model-control-mode=explicit",
        "--strict-readiness=false",  # the server is ready although a model failed to load
        f"--http-restricted-api={restricted}",
        f"--grpc-restricted-protocol={restricted}",
        f"--load-model={load}",
        f"--http-address={host}", f"--http-port={ports.http}",
        f"--grpc-address={host}", f"--grpc-port={ports.grpc}",
        f"--metrics-address={host}", f"--metrics-port={ports.metrics}",
        "--exit-timeout-secs=10",
        f"--log-info={'true' if verbose else 'false'}",
        f"--log-verbose={1 if verbose else 0}",
    ]  # fmt: skip


def free_ports(host: str = "127.0.0.1") -> Ports:
    """Three ports that no program listens on now."""
    with contextlib.ExitStack() as stack:
        numbers = []
        for _ in range(3):
            opened = stack.enter_context(socket.socket())
            opened.bind((host, 0))
            numbers.append(opened.getsockname()[1])
    return Ports(http=numbers[0], grpc=numbers[1], metrics=numbers[2])


def is_ready(host: str, port: int) -> bool:
    """Whether the server answers /v2/health/ready with 200. The request does not use the proxies of the environment."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{host}:{port}/v2/health/ready", timeout=2) as answer:
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


def _require_free(host: str, ports: Ports) -> None:
    """Raise ValueError for a port that another program listens on. Its answers could be taken for the server's."""
    for name, port in vars(ports).items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise ValueError(f"--{name}-port {port} on {host}: {error.strerror}; choose another") from None


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent ends, even if the parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _remove_shared_memory(prefix: str) -> None:
    """Remove the shared memory of a killed server."""
    for path in Path("/dev/shm").glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def running(
    repository: Path,
    *,
    host: str = "127.0.0.1",
    ports: Ports | None = None,
    load: str = "*",
    verbose: bool = False,
    log: Path | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], Ports]]:
    """Start a server, wait until it is ready, and stop it after the block; gives its process and its ports.

    Raises:
        ValueError: there is no server or no model, or the server does not become ready; the message holds its errors.
    """
    if not repository.is_dir() or not any(repository.glob("*/config.pbtxt")):
        raise ValueError(f"{repository} is no model repository; make one with: python -m serving triton build")
    ports = ports or free_ports(host)
    _require_free(host, ports)
    with tempfile.TemporaryDirectory(prefix="triton-") as scratch:
        (Path(scratch) / "backends").mkdir()
        prefix = f"recsys_{os.getpid()}_{ports.http}_"
        installation = find_installation(Path(scratch) / "backends")
        log_file = log or Path(scratch) / "server.log"
        command = _command(installation, repository, host, ports, prefix, load, verbose)
        with log_file.open("wb") as out:
            server = subprocess.Popen(
                command,
                env=_environment(installation),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        try:
            _await_ready(server, host, ports.http, log_file)
            yield server, ports
        finally:
            stop(server)
            _remove_shared_memory(prefix)


def _await_ready(server: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(host, port) or server.poll() is not None:
        if server.poll() is not None or time.monotonic() > deadline:
            raise ValueError(f"Triton did not get ready: {_failure_reason(log)}")
        time.sleep(0.1)


def _failure_reason(log: Path) -> str:
    """The error messages in the log of a server that did not start, without those about a missing GPU."""
    lines = [t.strip() for t in log.read_text(errors="replace").splitlines() if t.strip()]
    relevant = [t for t in lines if not any(word in t for word in ("NVML", "DCGM", "CudaDriver", "pinned"))]
    errors = [t for t in relevant if ERROR_LINE.match(t)] or [t for t in relevant if "error" in t.lower()] or relevant
    causes = [t for t in errors if "failed to" in t or "UNAVAILABLE" in t or "Error" in t] or errors
    shown = causes[:2] + causes[-1:] if len(causes) > 3 else causes
    return " | ".join(ERROR_LINE.sub("", t).split("\\n\\nAt:")[0] for t in shown) or "no message"


def has_dead_backend(server: subprocess.Popen[bytes]) -> bool:
    """Whether a process that runs a model was killed. The server does not notice it, and that model does not answer."""
    import psutil

    try:
        children = psutil.Process(server.pid).children()
    except psutil.Error:
        return False
    return any(child.status() == psutil.STATUS_ZOMBIE for child in children)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server: SIGTERM, SIGKILL after 20 seconds. Its backend processes are killed."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)  # the backend processes of a killed server
