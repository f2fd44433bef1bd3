"""Clients and commands of a Triton server cannot reach outside the repository, and cannot run code in the server."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from tritonclient.utils import InferenceServerException

from serving import targets
from serving.export_folder import ExportFolder
from serving.triton import repository, server
from serving.triton.client import Client, ServerError
from tests.serving.processes import soon
from tests.serving.served import Served

pytestmark = pytest.mark.slow


OUTSIDE = (
    "", ".", "..", "../repository/vae", "../../etc", "/etc/passwd", "vae/../ncf", "vae/1", "vae/", "vae%2f..%2fncf",
    "vae\n", "vae\0", "-vae", ".vae", "vä", "a" * 65,
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_could_be_another_folder_is_refused(
    served: Served, vae: ExportFolder, artifacts: dict[str, Path], name: str
) -> None:
    made = targets.artifact(artifacts["vae"], "onnx-fp32")
    before = {path for path in served.repository.parent.rglob("*") if "server.log" not in path.name}
    for attempt in (
        lambda: repository.add_version(served.repository, name, vae, made),
        lambda: repository.serve_version(served.repository, name, 1),
        lambda: repository.remove_old_versions(served.repository, name, 1),
    ):
        with pytest.raises(ValueError, match="--name is"):
            attempt()  # type: ignore[no-untyped-call]
    assert {path for path in served.repository.parent.rglob("*") if "server.log" not in path.name} == before


@pytest.mark.parametrize("words", ["build", "publish", "rollback"])
def test_such_a_name_is_one_line_and_status_2(served: Served, python: Any, vae: ExportFolder, words: str) -> None:
    line = {
        "build": ("triton", "build", "--export", vae.folder),
        "publish": ("publish", "--export", vae.folder),
        "rollback": ("publish", "--rollback"),
    }[words]
    done = python("serving", *line, "--repository", served.repository, "--name", "../outside")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --name is '../outside'") and done.stderr.count("\n") == 1
    assert not (served.repository.parent / "outside").exists()


@pytest.mark.parametrize("name", ["", "..", "../repository/vae", "vae/../ncf", "nobody", "vae/versions/9"])
def test_no_such_model_is_refused(served: Served, client: Client, name: str) -> None:
    with pytest.raises(ServerError):
        client.recommend(name, user=1)
    served.still_serves(client)


def test_listens_on_this_machine_only(served: Served) -> None:
    tree = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    sockets = [s for p in tree for s in p.net_connections("inet") if s.status == psutil.CONN_LISTEN]
    assert {s.laddr.port for s in sockets} == {served.ports.http, served.ports.grpc, served.ports.metrics}
    assert {s.laddr.ip for s in sockets} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


STRANGER = '''"""A model nobody published."""

from pathlib import Path


class TritonPythonModel:
    def initialize(self, args):
        Path({path!r}).write_text("ran")

    def execute(self, requests):
        return []
'''
STRANGERS_CONFIG: dict[str, Any] = {
    "backend": "python",
    "input": [{"name": "a", "data_type": "TYPE_INT32", "dims": [1]}],
    "output": [{"name": "b", "data_type": "TYPE_INT32", "dims": [1]}],
    "instance_group": [{"kind": "KIND_CPU", "count": 1}],
}


@pytest.fixture(scope="module")
def own_server(served: Served, tmp_path_factory: Any) -> Iterator[Served]:
    """A server of its own for who means harm, with a copy of one model."""
    folder = tmp_path_factory.mktemp("harm") / "repository"
    shutil.copytree(served.repository / "vae", folder / "vae")
    with server.running(folder) as (process, ports):
        yield replace(served, process=process, ports=ports, repository=folder)


def test_a_load_that_is_refused_leaves_the_server_ready(own_server: Served) -> None:
    """Anybody may misspell a name; a balancer must not take the server out for it."""
    for protocol in ("http", "grpc"):
        with own_server.client(protocol) as client:
            for name in ("nobody", "..", "../repository"):
                with pytest.raises(ServerError):
                    client.load(name)
            own_server.still_serves(client)
            assert soon(lambda client=client: client.ready(), 3), f"{protocol}: no longer ready"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("way", ["sent along", "outside of the repository"])
def test_no_client_runs_its_own_program_in_the_server(own_server: Served, protocol: str, way: str) -> None:
    """A client that may load models may not bring one."""
    folder = own_server.repository.parent
    name, ran = f"{protocol}-{way.split()[0]}", folder / f"{protocol}-{way.split()[0]}-ran"
    program = STRANGER.format(path=str(ran))
    options: dict[str, Any] = {"config": json.dumps(STRANGERS_CONFIG), "files": {"file:1/model.py": program.encode()}}
    if way != "sent along":
        (folder / "outside" / name / "1").mkdir(parents=True)
        (folder / "outside" / name / "1" / "model.py").write_text(program)
        (folder / "outside" / name / "config.pbtxt").write_text(
            'backend: "python"\ninput { name: "a" data_type: TYPE_INT32 dims: 1 }\n'
            'output { name: "b" data_type: TYPE_INT32 dims: 1 }\ninstance_group { kind: KIND_CPU count: 1 }\n'
        )
        name, options = f"../outside/{name}", {}
    with own_server.client(protocol) as client:
        with contextlib.suppress(InferenceServerException):
            client._connection.client.load_model(name, **options)
        own_server.still_serves(client)
    assert not ran.exists(), "the server ran it"
