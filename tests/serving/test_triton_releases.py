"""A real server whose versions change under load, that is killed, or that cannot start."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_core.rankings import answers_agree
from serving.__main__ import main
from serving.engines.engine import open_runner
from serving.export_folder import open_export
from serving.recommend.recommender import Recommender
from serving.recommend.requests import checked
from serving.release import metrics_of
from serving.triton import repository, server
from serving.triton.client import Answer, Client
from serving.triton.config import Service
from serving.triton.server import Ports
from tests.conftest import ROOT
from tests.serving import other_model
from tests.serving.processes import MARK, end, marked, of_repository, shared_memory, soon

pytestmark = pytest.mark.slow

LOAD_SECONDS = float(os.environ.get("RECSYS_LOAD_SECONDS", "8"))
NAME = "films"
USERS = 20


def build(export: Path, folder: Path) -> None:
    """A repository with one version, as `triton build` makes it."""
    version = repository.add_version(
        folder, NAME, opened := open_export(export), other_model.onnx_of(export), metrics_of(opened)
    )
    repository.serve_version(folder, NAME, version, Service())


def answers_of(export: Path) -> dict[int, Answer]:
    """What a model says to some users, without a server."""
    opened, made = open_export(export), other_model.onnx_of(export)
    recommender = Recommender(opened, open_runner(made), opened.history_limit(made.variant.signature))
    users = [int(u) for u in opened.users["user_id"][:USERS]]
    found = recommender.recommend([checked(user_id=u, top_k=opened.top_k) for u in users])
    return {
        user: Answer(
            items=a.item_ids.tolist(), titles=list(a.titles), scores=a.scores.tolist(), source=a.source, note=a.note
        )
        for user, a in zip(users, found, strict=True)
    }


def same(want: Answer, got: Answer) -> bool:
    if len(want.items) != len(got.items):
        return False
    one, other = ({"items": np.array([a.items]), "scores": np.array([a.scores], np.float32)} for a in (want, got))
    return answers_agree(one, other)


@dataclass(frozen=True, kw_only=True)
class Models:
    """Two models of one data set; the new one has the better metrics."""

    old: Path
    new: Path
    old_answers: dict[int, Answer]
    new_answers: dict[int, Answer]

    def which(self, user: int, answer: Answer) -> str:
        if same(self.old_answers[user], answer):
            return "old"
        return "new" if same(self.new_answers[user], answer) else "neither"


@pytest.fixture(scope="module")
def models(vae_export: Path, exact: dict[str, Path], tmp_path_factory: Any) -> Models:
    folder = tmp_path_factory.mktemp("two-models")
    old = other_model.copy(vae_export, exact["vae"], folder / "old")
    new = other_model.copy(vae_export, exact["vae"], folder / "new", better_by=0.01)
    other_model.damage_parameters(other_model.onnx_of(new))
    made = Models(old=old, new=new, old_answers=answers_of(old), new_answers=answers_of(new))
    assert not any(same(made.old_answers[user], made.new_answers[user]) for user in made.old_answers)
    return made


@dataclass(kw_only=True)
class Load:
    """Clients that ask without a pause, each in a thread of its own."""

    ports: Ports
    models: Models
    threads: int = 4
    retries: int = 0
    pause: float = 0.0
    answered: list[tuple[float, float, str]] = field(default_factory=list)
    """When it was asked, when answered, and which model's answer it is."""
    failed: list[str] = field(default_factory=list)

    def _ask(self, number: int, stop: threading.Event) -> None:
        protocol, port = ("http", self.ports.http) if number % 2 else ("grpc", self.ports.grpc)
        users = list(self.models.old_answers)
        with Client(f"127.0.0.1:{port}", protocol=protocol, retries=self.retries) as client:
            turn = number
            while not stop.is_set():
                user, start = users[turn % USERS], time.monotonic()
                try:
                    answer = client.recommend(NAME, user=user)
                except Exception as error:
                    self.failed.append(f"{protocol}: {type(error).__name__}: {error}")
                else:
                    self.answered.append((start, time.monotonic(), self.models.which(user, answer)))
                turn += 1
                stop.wait(self.pause)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(k, stop), daemon=True) for k in range(self.threads)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join(120)
            assert not any(thread.is_alive() for thread in threads)

    def between(self, start: float, end: float) -> set[str]:
        """Whose answers those are that were asked and answered within a time."""
        return {model for asked, answered, model in self.answered if start <= asked and answered <= end}


@dataclass(frozen=True, kw_only=True)
class Served:
    repository: Path
    ports: Ports
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.ports.http}"

    def client(self) -> Client:
        return Client(self.url)


@pytest.fixture(scope="module")
def served(models: Models, tmp_path_factory: Any) -> Iterator[Served]:
    """A server that begins with the old model; afterwards nothing of it remains."""
    folder = tmp_path_factory.mktemp("publishing") / "repository"
    build(models.old, folder)
    with server.running(folder) as (process, ports):
        yield Served(repository=folder, ports=ports, process=process)
        assert process.poll() is None, "the server ended by itself"
    assert not of_repository(folder)
    assert not shared_memory(f"recsys_{os.getpid()}_{ports.http}_")


def test_a_version_changes_under_load(served: Served, models: Models, python: Any) -> None:
    """Published and rolled back: no request fails, and each is answered by one of the two models."""
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    with Load(ports=served.ports, models=models).running() as load:
        time.sleep(LOAD_SECONDS / 3)
        publishing = time.monotonic()
        done = python("serving", "publish", "--export", models.new, *where)
        published = time.monotonic()
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"version \d+ is served \(before: 1\)", done.stdout)
        time.sleep(LOAD_SECONDS / 3)
        going_back = time.monotonic()
        back = python("serving", "publish", "--rollback", *where)
        went_back = time.monotonic()
        assert back.returncode == 0, back.stdout + back.stderr
        time.sleep(LOAD_SECONDS / 3)
        ended = time.monotonic()
    assert not load.failed
    assert {model for _, _, model in load.answered} == {"old", "new"}
    assert load.between(0, publishing) == {"old"}
    assert load.between(published, going_back) == {"new"}
    assert load.between(went_back, ended) == {"old"}
    assert len(load.answered) > 20 * LOAD_SECONDS
    assert repository.served(served.repository / NAME) == 1
    with served.client() as client:
        assert client.versions(NAME) == [1] and client.ready()


@contextlib.contextmanager
def _refused(folder: Path, why: str, ports: Ports | None = None) -> Iterator[None]:
    """The server does not start, says why, and leaves nothing."""
    started, prefix = time.monotonic(), f"recsys_{os.getpid()}_"
    before = shared_memory(prefix)
    with pytest.raises(ValueError, match=why), server.running(folder, ports=ports) as (process, _):
        time.sleep(0.5)
        pytest.fail(f"the server is said to be ready (status {process.poll()})")
    assert time.monotonic() - started < 60
    assert not of_repository(folder)
    assert not shared_memory(prefix) - before
    yield


def test_the_ports_of_another_server(served: Served, models: Models, tmp_path: Path) -> None:
    """It answers that it is ready, but it is not the one that was started."""
    folder = tmp_path / "second"
    build(models.old, folder)
    with _refused(folder, r"(?i)port|address|bind|socket", served.ports):
        pass
    user = next(iter(models.old_answers))
    with served.client() as client:
        assert models.which(user, client.recommend(NAME, user=user)) != "neither"


def test_readiness_is_asked_of_this_machine_not_of_a_proxy(served: Served, command: Any) -> None:
    asks = f"from serving.triton.server import is_ready; print(is_ready('127.0.0.1', {served.ports.http}))"
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    done = command([sys.executable, "-c", asks], env=proxy)
    assert done.stdout.strip() == "True", done.stderr


def _publish_new(served: Served, models: Models, python: Any) -> int:
    """Have the new model served, whatever was; returns its version."""
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    done = python("serving", "publish", "--export", models.new, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    version = repository.served(served.repository / NAME)
    assert version is not None
    return version


def test_a_worse_one_is_not_published(served: Served, models: Models, python: Any) -> None:
    version = _publish_new(served, models, python)
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    before = sorted(served.repository.rglob("*"))
    done = python("serving", "publish", "--export", models.old, *where)
    assert done.returncode == 1
    assert "not published: it is worse" in done.stdout
    assert sorted(served.repository.rglob("*")) == before
    user = next(iter(models.old_answers))
    with served.client() as client:
        assert client.versions(NAME) == [version]
        assert models.which(user, client.recommend(NAME, user=user)) == "new"


def test_a_version_that_cannot_be_loaded_leaves_the_served_one(served: Served, models: Models, python: Any) -> None:
    version = _publish_new(served, models, python)
    model = served.repository / NAME
    older = [v for v in repository.versions(model) if v < version][-1]
    with (model / str(older) / "onnx-fp32" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    with Load(ports=served.ports, models=models, threads=2, pause=0.01).running() as load:
        done = python("serving", "publish", "--rollback", *where)
    assert done.returncode == 2
    assert not load.failed and {model for _, _, model in load.answered} == {"new"}
    assert repository.served(model) == version
    assert "is not what was verified" in done.stderr
    with served.client() as client:
        assert client.versions(NAME) == [version]
        assert soon(client.ready, 3), "the server says that it is not ready, though its model is served"
    assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_there_changes_nothing(models: Models, tmp_path: Path, capsys: Any) -> None:
    build(models.old, tmp_path)
    url = f"127.0.0.1:{server.free_ports().http}"
    where = ("--repository", str(tmp_path), "--name", NAME, "--url", url)
    assert main(["publish", "--export", str(models.new), *where]) == 2
    said = capsys.readouterr().err
    assert "no answer from" in said and said.count("\n") == 1
    assert repository.served(tmp_path / NAME) == 1


def test_a_rollback_skips_what_was_rolled_back(models: Models, tmp_path: Path) -> None:
    """1, then 2, back to 1, then 3: going back from 3 is going back to 1, which served before, not to the bad 2."""
    build(models.old, tmp_path)
    new = ("--export", str(models.new))
    for words in (new, ("--rollback",), new, ("--rollback",)):
        assert main(["publish", *words, "--repository", str(tmp_path), "--name", NAME]) == 0
    assert repository.served(tmp_path / NAME) == 1


def test_a_server_that_is_killed_and_comes_back(models: Models, tmp_path: Path) -> None:
    """Clients that are patient get every answer; what the killed server left is gone."""
    folder, ports = tmp_path / "repository", server.free_ports()
    build(models.old, folder)
    load = Load(ports=ports, models=models, threads=2, retries=60, pause=0.02)
    with contextlib.ExitStack() as stack:
        with server.running(folder, ports=ports) as (process, _):
            stack.enter_context(load.running())
            assert soon(lambda: len(load.answered) > 20)
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        assert not of_repository(folder)
        assert not shared_memory(f"recsys_{os.getpid()}_{ports.http}_")
        before = len(load.answered)
        with server.running(folder, ports=ports):
            assert soon(lambda: len(load.answered) > before + 50, 60)
            stack.close()
    assert not load.failed
    assert {model for _, _, model in load.answered} == {"old"}


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

            assert soon(lambda: answers() or not client.ready(NAME) or command.poll() is not None, 10)


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
    with _refused(folder, why):
        pass


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with _refused(folder, "is no model repository"):
            pass


@pytest.mark.parametrize("name", ["grpc", "metrics"])
def test_a_port_that_is_taken(models: Models, tmp_path: Path, name: str) -> None:
    """By something that listens and says nothing."""
    folder, ports = tmp_path / "repository", server.free_ports()
    build(models.old, folder)
    with (
        socket.create_server(("127.0.0.1", getattr(ports, name))),
        _refused(folder, r"(?i)port|address|bind|socket", ports),
    ):
        pass


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
        with _refused(folder, r"(?i)port|address|bind|socket", ports):
            pass
        talker.shutdown(socket.SHUT_RDWR)
    thread.join(5)
