"""Starting Triton: the server of the nvidia-pytriton package, or one that is installed (NVIDIA's container).

The package carries the real tritonserver with the Python backend, which runs on machines without a GPU too.
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

from serving.triton import repository as model_repository
from serving.triton.client import KEY_HEADER

INSTALLED_BACKENDS = Path("/opt/tritonserver/backends")
READY_SECONDS = 120.0
PR_SET_PDEATHSIG = 1
ERROR_LINE = re.compile(r"^E\d{4} [\d:.]+ \d+ \S+\] ")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where the server listens."""

    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A server program and what it needs around it."""

    program: Path
    backends: Path
    libraries: tuple[Path, ...]


def _package() -> Path | None:
    """The nvidia-pytriton package's folder, without importing it."""
    found = importlib.util.find_spec("pytriton")
    return Path(found.origin).parent if found is not None and found.origin else None


def _with_stub(package: Path, scratch: Path) -> Path:
    """The package's backends, with this Python's stub put where the server looks for it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    server = package / "tritonserver"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise ValueError(f"nvidia-pytriton has no Python backend for Python {version}")
    shutil.copytree(server / "backends" / "python", scratch / "python")
    shutil.copy2(stub, scratch / "python" / stub.name)
    (scratch / "python" / stub.name).chmod(0o755)
    return scratch


def find(scratch: Path) -> Installation:
    """The server of this machine.

    Args:
        scratch: an empty folder of its own.

    Raises:
        ValueError: there is none (says how to get one).
    """
    installed = shutil.which("tritonserver")
    if installed and INSTALLED_BACKENDS.is_dir():
        return Installation(program=Path(installed), backends=INSTALLED_BACKENDS, libraries=())
    package = _package()
    if package is None:
        raise ValueError(
            "no Triton server: pip install nvidia-pytriton==0.5.12 (extra `triton` of this project), or work in "
            "NVIDIA's tritonserver container"
        )
    program = package / "tritonserver" / "bin" / "tritonserver"
    libraries = (package.parent / "nvidia_pytriton.libs", Path(sysconfig.get_config_var("LIBDIR")))
    return Installation(program=program, backends=_with_stub(package, scratch), libraries=libraries)


def _environment(installation: Installation) -> dict[str, str]:
    env = dict(os.environ)
    # The stub is a Python of its own: it is told where this one's packages and ours are.
    paths = [str(Path(__file__).resolve().parents[2]), *site.getsitepackages()]
    env["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [env.get("PYTHONPATH")])])
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    if installation.libraries:
        own = [str(p) for p in installation.libraries]
        env["LD_LIBRARY_PATH"] = os.pathsep.join([*own, *filter(None, [env.get("LD_LIBRARY_PATH")])])
    return env


def _command(
    installation: Installation, repository: Path, host: str, ports: Ports, prefix: str, load: str, verbose: bool
) -> list[str]:
    # Who may load models may run code: these interfaces want a key that only the repository's owner can read.
    guarded = f"model-repository,shared-memory,logging,trace:{KEY_HEADER}={model_repository.new_key(repository)}"
    return [
        str(installation.program),
        f"--model-repository={repository.absolute()}",
        f"--backend-directory={installation.backends}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--model-control-mode=explicit",
        "--strict-readiness=false",  # a model that failed to load does not make the server's others unready
        f"--http-restricted-api={guarded}",
        f"--grpc-restricted-protocol={guarded}",
        f"--load-model={load}",
        f"--http-address={host}", f"--http-port={ports.http}",
        f"--grpc-address={host}", f"--grpc-port={ports.grpc}",
        f"--metrics-address={host}", f"--metrics-port={ports.metrics}",
        "--exit-timeout-secs=10",
        f"--log-info={'true' if verbose else 'false'}",
        f"--log-verbose={1 if verbose else 0}",
    ]  # fmt: skip


def free_ports(host: str = "127.0.0.1") -> Ports:
    """Three ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            opened = stack.enter_context(socket.socket())
            opened.bind((host, 0))
            found.append(opened.getsockname()[1])
    return Ports(http=found[0], grpc=found[1], metrics=found[2])


def is_ready(host: str, port: int) -> bool:
    """Whether /v2/health/ready says so (asked directly, whatever proxy the environment names)."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{host}:{port}/v2/health/ready", timeout=2) as answer:
            return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False


def _require_free(host: str, ports: Ports) -> None:
    """Raise ValueError for a port that somebody listens on: their answers would pass for our server's."""
    for name, port in vars(ports).items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise ValueError(f"--{name}-port {port} on {host}: {error.strerror}; choose another") from None


def _end_with_parent() -> None:
    """Have the kernel end the server when the process that started it is gone, however that went."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _remove_shared_memory(prefix: str) -> None:
    """What a killed server leaves."""
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
    """A server that is ready; it ends with the block, and leaves nothing behind.

    Raises:
        ValueError: no server, no models, or it does not get ready (its last words are in the message).
    """
    if not repository.is_dir() or not any(repository.glob("*/config.pbtxt")):
        raise ValueError(f"{repository} is no model repository; make one with: python -m serving triton build")
    ports = ports or free_ports(host)
    _require_free(host, ports)
    with tempfile.TemporaryDirectory(prefix="triton-") as scratch:
        (Path(scratch) / "backends").mkdir()
        prefix = f"recsys_{os.getpid()}_{ports.http}_"
        installation = find(Path(scratch) / "backends")
        said = log or Path(scratch) / "server.log"
        command = _command(installation, repository, host, ports, prefix, load, verbose)
        with said.open("wb") as out:
            server = subprocess.Popen(
                command,
                env=_environment(installation),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        try:
            _await_ready(server, host, ports.http, said)
            yield server, ports
        finally:
            stop(server)
            _remove_shared_memory(prefix)


def _await_ready(server: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(host, port) or server.poll() is not None:
        if server.poll() is not None or time.monotonic() > deadline:
            raise ValueError(f"Triton did not get ready: {_reason(log)}")
        time.sleep(0.1)


def _reason(log: Path) -> str:
    """What a server that did not start says of it, without its words about GPUs that are not there."""
    lines = [t.strip() for t in log.read_text(errors="replace").splitlines() if t.strip()]
    about = [t for t in lines if not any(word in t for word in ("NVML", "DCGM", "CudaDriver", "pinned"))]
    errors = [t for t in about if ERROR_LINE.match(t)] or [t for t in about if "error" in t.lower()] or about
    told = [t for t in errors if "failed to" in t or "UNAVAILABLE" in t or "Error" in t] or errors
    return (
        " | ".join(
            ERROR_LINE.sub("", t).split("\\n\\nAt:")[0] for t in (told[:2] + told[-1:] if len(told) > 3 else told)
        )
        or "no message"
    )


def lost_backend(server: subprocess.Popen[bytes]) -> bool:
    """Whether a process that runs a model was killed: the server neither notices nor answers for that model."""
    import psutil

    try:
        children = psutil.Process(server.pid).children()
    except psutil.Error:
        return False
    return any(child.status() == psutil.STATUS_ZOMBIE for child in children)


def stop(server: subprocess.Popen[bytes]) -> None:
    """In good order; with force if it takes long. Its backend processes go with it."""
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)  # stubs of a killed server
