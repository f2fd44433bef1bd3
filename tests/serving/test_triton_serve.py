"""Starting a Triton server: it refuses bad repositories and ports, and leaves no process and no memory when it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.triton import server
from serving.triton.client import Client
from serving.triton.server import Ports
from tests.conftest import ROOT
from tests.serving.processes import MARK, end, marked, of_repository, shared_memory, soon
from tests.serving.two_models import NAME, Models, build

pytestmark = pytest.mark.slow


def _assert_refused(folder: Path, why: str, ports: Ports | None = None) -> None:
    """The server does not start, its error tells why, and it leaves no process and no memory."""
    started, prefix = time.monotonic(), f"recsys_{os.getpid()}_"
    before = shared_memory(prefix)
    with pytest.raises(ValueError, match=why), server.running(folder, ports=ports) as (process, _):
        time.sleep(0.5)
        pytest.fail(f"the server is said to be ready (status {process.poll()})")
    assert time.monotonic() - started < 60
    assert not of_repository(folder)
    assert not shared_memory(prefix) - before


def test_the_ports_of_another_server(models: Models, command: Any, tmp_path: Path) -> None:
    """The other server answers that it is ready, but it is not the server that was started."""
    build(models.old, tmp_path / "first")
    build(models.old, tmp_path / "second")
    with server.running(tmp_path / "first") as (_, ports):
        _assert_refused(tmp_path / "second", r"(?i)port|address|bind|socket", ports)
        user = next(iter(models.old_answers))
        with Client(f"127.0.0.1:{ports.http}") as client:
            assert models.which(user, client.recommend(NAME, user=user)) == "old"
        # A proxy in the environment must not change the answer to "is it ready?".
        program = f"from serving.triton.server import is_ready; print(is_ready('127.0.0.1', {ports.http}))"
        proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
        done = command([sys.executable, "-c", program], env=proxy)
        assert done.stdout.strip() == "True", done.stderr


@contextlib.contextmanager
def _serve_command(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Ports, str]]:
    """`python -m serving triton serve`, ready; whatever becomes of it, the test leaves nothing."""
    ports, mark = server.free_ports(), uuid.uuid4().hex
    words = [sys.executable, "-m", "serving", "triton", "serve", "--repository", str(folder)]
    words += [f"--{name}-port={port}" for name, port in vars(ports).items()]
    command = subprocess.Popen(
        words, cwd=ROOT, env=os.environ | {MARK: mark}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert command.stdout is not None
        assert command.stdout.readline().startswith("ready: ")
        yield command, ports, mark
    finally:
        left = marked(mark)
        end(left)
        command.communicate()
        for name in shared_memory(f"recsys_{command.pid}_"):
            (Path("/dev/shm") / name).unlink()


KILLS: dict[str, Callable[[subprocess.Popen[str], str], None]] = {
    "command, SIGTERM": lambda command, _: command.terminate(),
    "command, SIGKILL": lambda command, _: command.kill(),
    "server, SIGKILL": lambda _, mark: [p.kill() for p in marked(mark) if p.name() == "tritonserver"],  # type: ignore
}


@pytest.mark.parametrize("kill", KILLS)
def test_serve_leaves_nothing_behind(models: Models, tmp_path: Path, kill: str) -> None:
    folder = tmp_path / "repository"
    build(models.old, folder)
    with _serve_command(folder) as (command, ports, mark):
        user = next(iter(models.old_answers))
        with Client(f"127.0.0.1:{ports.grpc}", protocol="grpc") as client:
            assert models.which(user, client.recommend(NAME, user=user)) == "old"
        KILLS[kill](command, mark)
        if kill == "server, SIGKILL":  # a new one takes its place
            with Client(f"127.0.0.1:{ports.grpc}", protocol="grpc", retries=30) as client:
                assert models.which(user, client.recommend(NAME, user=user)) == "old"
            command.terminate()
        status = command.wait(30)
        assert status == (-9 if kill == "command, SIGKILL" else 0)
        assert soon(lambda: not marked(mark), 5), [p.cmdline()[:2] for p in marked(mark)]
        assert soon(lambda: not shared_memory(f"recsys_{command.pid}_"), 5)


def test_a_stub_that_is_killed(models: Models, tmp_path: Path) -> None:
    """The process that runs the model dies, for want of memory say: it comes back, or its server says so or ends."""
    build(models.old, tmp_path)
    user = next(iter(models.old_answers))
    with _serve_command(tmp_path) as (command, ports, mark):  # noqa: SIM117 - the client needs its ports
        with Client(f"127.0.0.1:{ports.http}", timeout=2, retries=0) as client:
            assert models.which(user, client.recommend(NAME, user=user)) == "old"
            (stub,) = [p for p in marked(mark) if "stub" in p.name()]
            stub.kill()

            def answers() -> bool:
                with contextlib.suppress(ValueError):
                    return models.which(user, client.recommend(NAME, user=user)) == "old"
                return False

            assert soon(lambda: answers() or not client.ready(NAME) or command.poll() is not None, 30)


@pytest.mark.parametrize("fault", ["no configuration", "no such backend", "model changed", "export cut"])
def test_a_server_that_cannot_start_says_why(models: Models, tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "repository"
    build(models.old, folder)
    model = folder / NAME
    config = model / "config.pbtxt"
    if fault == "no configuration":
        config.write_text("max_batch_size: many\nnonsense {")
        why = "config.pbtxt|configuration|model configuration"
    elif fault == "no such backend":
        config.write_text(config.read_text().replace('backend: "python"', 'backend: "pythn"'))
        why = "pythn"
    elif fault == "model changed":
        with (model / "1" / "onnx-fp32" / "model.onnx").open("ab") as file:
            file.write(b"\0")
        why = "not what was verified"
    else:
        whole = (model / "1" / "export" / "histories.npz").read_bytes()
        (model / "1" / "export" / "histories.npz").write_bytes(whole[: len(whole) // 2])
        why = "histories.npz is damaged"
    _assert_refused(folder, why)


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        _assert_refused(folder, "is no model repository")


@pytest.mark.parametrize("name", ["grpc", "metrics"])
def test_a_port_that_is_taken(models: Models, tmp_path: Path, name: str) -> None:
    """By something that listens and says nothing."""
    folder, ports = tmp_path / "repository", server.free_ports()
    build(models.old, folder)
    with socket.create_server(("127.0.0.1", getattr(ports, name))):
        _assert_refused(folder, r"(?i)port|address|bind|socket", ports)


def test_a_port_that_something_else_talks_on(models: Models, tmp_path: Path) -> None:
    """An SSH server, say: neither HTTP nor ready."""
    folder, ports = tmp_path / "repository", server.free_ports()
    build(models.old, folder)
    with socket.create_server(("127.0.0.1", ports.http)) as talker:

        def talk() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = talker.accept()
                    with caller:
                        caller.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        _assert_refused(folder, r"(?i)port|address|bind|socket", ports)
        talker.shutdown(socket.SHUT_RDWR)
    thread.join(5)
