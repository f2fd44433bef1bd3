"""A real Triton server whose versions change under load."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from serving.__main__ import main
from serving.triton import repository, retention, server
from serving.triton.client import Client
from serving.triton.server import Ports
from tests.conftest import ROOT
from tests.serving.processes import of_repository, shared_memory, soon
from tests.serving.two_models import NAME, USERS, Models, build

pytestmark = pytest.mark.slow

LOAD_SECONDS = float(os.environ.get("RECSYS_LOAD_SECONDS", "8"))


@dataclass(kw_only=True)
class Load:
    """Clients that ask without a pause, each in a thread of its own."""

    ports: Ports
    models: Models
    threads: int = 4
    retries: int = 0
    pause: float = 0.0
    answered: list[tuple[float, float, str]] = field(default_factory=list)
    """Of each request: the time it was sent, the time of its answer, and the model whose answer it is."""
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
        """The models that answered the requests that were sent and answered in an interval."""
        return {model for sent, answered, model in self.answered if start <= sent and answered <= end}


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
    assert repository.served_version(served.repository / NAME) == 1
    with served.client() as client:
        assert client.versions(NAME) == [1] and client.ready()


def _publish_new(served: Served, models: Models, python: Any) -> int:
    """Have the new model served, whatever was; returns its version."""
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    done = python("serving", "publish", "--export", models.new, *where)
    assert done.returncode == 0, done.stdout + done.stderr
    version = repository.served_version(served.repository / NAME)
    assert version is not None
    return version


def test_a_worse_one_is_not_published(served: Served, models: Models, python: Any) -> None:
    version = _publish_new(served, models, python)
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    before = sorted(served.repository.rglob("*"))
    done = python("serving", "publish", "--export", models.old, *where)
    assert done.returncode == 1, done.stderr
    assert "not published: it is worse than what is served" in done.stdout
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
    assert repository.served_version(model) == version
    assert "is not what was verified" in done.stderr
    with served.client() as client:
        assert client.versions(NAME) == [version]
        assert soon(client.ready, 3), "the server says that it is not ready, though its model is served"
    assert done.stderr.count("error: ") == 1


def test_a_server_that_is_not_there_changes_nothing(models: Models, tmp_path: Path, capsys: Any) -> None:
    build(models.old, tmp_path)
    url = f"127.0.0.1:{server.free_ports().http}"
    where = ("--repository", str(tmp_path), "--name", NAME, "--url", url)
    assert main(["publish", "--export", str(models.new), *where]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"error: no answer from {url}: is a server running there?")
    assert said.count("error: ") == 1
    assert repository.served_version(tmp_path / NAME) == 1


def test_a_rollback_finds_what_was_good(models: Models, tmp_path: Path) -> None:
    """1, 2, 3 (bad), back, 4 (bad), back, 5: going back from 5 is going back to 2, and from there to 1."""
    words = ("--repository", str(tmp_path), "--name", NAME)
    served = []
    for export in (models.old, models.new, models.old, None, models.old, None, models.old, None, None):
        act = ("--rollback",) if export is None else ("--export", str(export), "--force")
        assert main(["publish", *act, *words]) == 0
        served.append(repository.served_version(tmp_path / NAME))
    assert served == [1, 2, 3, 2, 3, 2, 3, 2, 1]


def test_a_candidate_is_shadowed_then_promoted(served: Served, models: Models, python: Any) -> None:
    """Its answers are not sent; when it is promoted, they are. No request fails."""
    _publish_new(served, models, python)
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    with Load(ports=served.ports, models=models, threads=2, pause=0.01).running() as load:
        started = time.monotonic()
        done = python("serving", "publish", "--export", models.old, "--force", "--shadow", "0.5", *where)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the candidate is running (1 instances)" in done.stdout, done.stdout

        def counts() -> dict[str, Any]:
            report = python("serving", "publish", "--shadow-report", "--json", *where)
            assert report.returncode == 0, report.stderr
            return json.loads(report.stdout)

        assert soon(lambda: counts()["requests"]["answered"] >= 20, 60)
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{served.ports.metrics}/metrics").read().decode()
        again = python("serving", "publish", "--export", models.old, "--shadow", "0.5", *where)
        assert again.returncode == 0 and "is the shadow" in again.stdout
        refused = python("serving", "publish", "--export", models.new, "--force", *where)
        promoting = time.monotonic()
        promoted = python("serving", "publish", "--promote", *where)
        assert promoted.returncode == 0, promoted.stdout + promoted.stderr
        done_at = time.monotonic()
        time.sleep(1)
        ended = time.monotonic()
    assert not load.failed
    assert load.between(started, promoting) == {"new"}
    assert load.between(done_at, ended) == {"old"}
    assert refused.returncode in (0, 2)
    found = re.search(r'recsys_shadow_requests_total\{[^}]*outcome="answered"[^}]*\} (\d+)', metrics)
    assert found is not None and int(found[1]) > 0
    assert re.search(r"agreement: \d+\.\d\d % of the items", promoted.stdout)
    assert not (served.repository / NAME / "shadow").exists()
    assert soon(lambda: not [p for p in psutil.process_iter() if _is_worker_of(p, served.repository)], 10)


def _is_worker_of(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return "serving.triton.shadow.worker" in words and any(str(folder) in word for word in words)
    return False


def test_a_load_that_takes_too_long_is_found_by_the_same_command(served: Served, models: Models, python: Any) -> None:
    """The time limit passes, the configuration names the former version; the server loads it all the same."""
    version = _publish_new(served, models, python)
    where = ("--repository", served.repository, "--name", NAME, "--url", served.url)
    publish = ("publish", "--export", models.old, "--force", *where)
    done = python("serving", *publish, "--load-seconds", "0.05")
    assert done.returncode == 2 and "in 0.05 s; try again" in done.stderr, done.stderr
    assert repository.served_version(served.repository / NAME) == version
    there = repository.versions(served.repository / NAME)
    for _ in range(2):
        again = python("serving", *publish)
        assert again.returncode == 0, again.stderr
        assert repository.versions(served.repository / NAME)[-1] == there[-1], "it was copied already"
    assert repository.served_version(served.repository / NAME) == there[-1]
    with served.client() as client:
        assert client.versions(NAME) == [there[-1]]


def test_two_publishers_at_once(models: Models, tmp_path: Path) -> None:
    """Real processes: both versions are there, and the one that came second was compared with the first."""
    build(models.old, tmp_path)
    other = tmp_path / "other"
    shutil.copytree(models.new.parent, other)
    titles = pd.read_parquet(other / "export" / "items.parquet")
    titles.assign(title="another").to_parquet(other / "export" / "items.parquet")
    where = ["--repository", str(tmp_path), "--name", NAME]
    command = [sys.executable, "-m", "serving", "publish", *where, "--export"]
    both = [
        subprocess.Popen([*command, str(run)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for run in (models.new, other)
    ]
    said = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    model = tmp_path / NAME
    assert repository.versions(model) == [1, 2, 3]
    assert repository.served_version(model) == 3
    assert retention.chain(retention.links(model), 3) == [3, 2, 1]
    assert repository.version_digest(model, 2) != repository.version_digest(model, 3)
    assert not (tmp_path / "publish.lock").exists()


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
