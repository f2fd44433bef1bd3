"""A real Triton server with both models: right answers, clear errors, and the next request is always served."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from tritonclient.utils import InferenceServerException

from recsys_core.rankings import answers_agree
from serving import targets as variants
from serving.engines.engine import open_runner
from serving.export_folder import ExportFolder
from serving.recommend.recommender import MODEL, POPULAR, Recommender
from serving.recommend.requests import checked
from serving.triton import repository, server
from serving.triton.client import Answer, Client, ServerError
from serving.triton.server import Ports
from tests.serving.processes import of_repository, shared_memory, soon

pytestmark = pytest.mark.slow

UNKNOWN = 10**12
"""Neither a user nor an item."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server, and what it has to answer."""

    process: Any
    ports: Ports
    repository: Path
    offline: dict[str, Recommender]
    exports: dict[str, ExportFolder]
    titles: dict[str, dict[int, str]]

    def client(self, protocol: str = "http", **options: Any) -> Client:
        port = self.ports.http if protocol == "http" else self.ports.grpc
        return Client(f"127.0.0.1:{port}", protocol=protocol, **options)

    def users(self, model: str) -> list[int]:
        return [int(u) for u in self.exports[model].users["user_id"]]

    def wanted(self, model: str, **asked: Any) -> Answer:
        """What the recommender says without a server."""
        given = {"user_id": asked.get("user"), "item_ids": asked.get("items", ()), "k": asked.get("k", 10)}
        lists = {name: asked[name] for name in ("deny", "allow") if name in asked}
        (answer,) = self.offline[model].recommend([checked(**given, **lists, top_k=self.exports[model].top_k)])
        unknown = f"not known: {', '.join(map(str, answer.unknown[:10]))}" if answer.unknown else ""
        return Answer(
            items=answer.item_ids.tolist(),
            titles=list(answer.titles),
            scores=answer.scores.tolist(),
            source=answer.source,
            note="; ".join(part for part in (answer.note, unknown) if part),
        )

    def check(self, model: str, got: Answer, **asked: Any) -> None:
        """The answer is the offline one, but for ties."""
        want = self.wanted(model, **asked)
        assert (got.source, got.note, len(got.items)) == (want.source, want.note, len(want.items)), asked
        if want.items:
            assert answers_agree(_arrays(want), _arrays(got)), (asked, want, got)
        assert got.titles == [self.titles[model][item] for item in got.items]

    def still_serves(self, client: Client) -> None:
        user = self.users("vae")[0]
        self.check("vae", client.recommend("vae", user=user, k=3), user=user, k=3)


def _arrays(answer: Answer) -> dict[str, npt.NDArray]:
    return {"items": np.array([answer.items]), "scores": np.array([answer.scores], np.float32)}


@pytest.fixture(scope="module")
def served(
    vae: ExportFolder, ncf: ExportFolder, exact: dict[str, Path], python: Any, tmp_path_factory: Any
) -> Iterator[Served]:
    exports = {"vae": vae, "ncf": ncf}
    folder = tmp_path_factory.mktemp("triton") / "repository"
    offline, titles = {}, {}
    for name, export in exports.items():
        words = ("--export", export.folder, "--models", exact[name], "--repository", folder, "--name", name)
        done = python("serving", "triton", "build", *words)
        assert done.returncode == 0, done.stderr
        made = variants.converted(exact[name], "onnx-fp32")
        offline[name] = Recommender(export, open_runner(made), export.history_limit(made.variant.signature))
        ids, texts = (export.items[column].tolist() for column in ("item_id", "title"))
        titles[name] = {i: t if isinstance(t, str) else "" for i, t in zip(ids, texts, strict=True)}
    with server.running(folder) as (process, ports):
        yield Served(process=process, ports=ports, repository=folder, offline=offline, exports=exports, titles=titles)
        assert process.poll() is None, "the server ended while the tests ran"
    assert not of_repository(folder)
    assert not shared_memory(f"recsys_{os.getpid()}_{ports.http}_")


@pytest.fixture(params=["http", "grpc"])
def client(served: Served, request: pytest.FixtureRequest) -> Iterator[Client]:
    with served.client(request.param) as opened:
        yield opened


def test_live_and_ready(served: Served, client: Client) -> None:
    assert client.live() and client.ready()
    assert client.ready("vae") and client.ready("ncf") and not client.ready("nobody")
    assert client.versions("vae") == client.versions("ncf") == [1]
    with urllib.request.urlopen(f"http://127.0.0.1:{served.ports.http}/v2/health/ready", timeout=5) as answer:
        assert answer.status == 200


def test_nobody_there_is_not_ready() -> None:
    ports = server.free_ports()
    for protocol, port in (("http", ports.http), ("grpc", ports.grpc)):
        with Client(f"127.0.0.1:{port}", protocol=protocol, timeout=1, retries=1) as nobody:
            assert not nobody.live() and not nobody.ready() and not nobody.ready("vae")
            with pytest.raises(ServerError, match="no answer from"):
                nobody.recommend("vae", user=1)


@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_every_known_user(served: Served, client: Client, model: str) -> None:
    users = served.users(model)
    for k in range(0, len(users), 64):
        some = users[k : k + 64]
        ask = {"user_id": np.array([some], np.int64).T, "k": np.full((len(some), 1), 100, np.int32)}
        for user, answer in zip(some, client.infer(model, ask), strict=True):
            assert answer.source == MODEL
            served.check(model, answer, user=user, k=100)
    for user in users[::7]:
        served.check(model, client.recommend(model, user=user), user=user)


def test_item_lists(served: Served, client: Client) -> None:
    random, ids = np.random.default_rng(1), served.exports["vae"].items["item_id"].to_numpy()
    for length in (1, 2, 3, 10, 40, 150, len(ids) - 5):
        items = random.choice(ids, length, replace=False).tolist()
        for asked in (
            {"items": items},
            {"items": items, "k": 100, "deny": random.choice(ids, 30).tolist()},
            {"items": items, "k": 5, "allow": random.choice(ids, 60).tolist()},
            {"items": items, "k": 7, "user": served.users("vae")[length % 50]},
        ):
            served.check("vae", client.recommend("vae", **asked), **asked)  # type: ignore[arg-type]


def test_everything_seen_leaves_nothing(served: Served, client: Client) -> None:
    every = [int(i) for i in served.exports["vae"].items["item_id"]]
    assert client.recommend("vae", items=every).items == []
    assert client.recommend("vae", items=every[1:]).items == every[:1]


def test_ids_repeated_count_once(served: Served, client: Client) -> None:
    item, other = (int(i) for i in served.exports["vae"].items["item_id"].iloc[[3, 8]])
    once, often = ((item, other), [item] * 500 + [other] * 500 + [item])
    assert client.recommend("vae", items=often) == client.recommend("vae", items=once)


@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_cold_start(served: Served, client: Client, model: str) -> None:
    items = served.exports[model].items
    popular = items.sort_values(["count", "index"], ascending=[False, True])["item_id"].tolist()
    for asked in ({}, {"user": UNKNOWN}, {"items": [UNKNOWN]}, {"user": 2**63 - 1}):
        answer = client.recommend(model, k=20, **asked)  # type: ignore[arg-type]
        assert (answer.source, answer.items) == (POPULAR, popular[:20])
        served.check(model, answer, k=20, **asked)
    without = client.recommend(model, k=20, deny=popular[:5])
    assert without.items == popular[5:25]


def test_what_is_unknown_is_noted(served: Served, client: Client) -> None:
    known = int(served.exports["vae"].items["item_id"].iloc[4])
    answer = client.recommend("vae", items=[UNKNOWN, known, UNKNOWN + 1])
    assert answer.source == MODEL
    assert answer.note == f"not known: {UNKNOWN}, {UNKNOWN + 1}"
    assert answer.items == client.recommend("vae", items=[known]).items
    assert str(UNKNOWN) in client.recommend("vae", user=UNKNOWN).note
    assert "users, not histories" in client.recommend("ncf", items=[known]).note
    assert len(client.recommend("vae", items=[known, *range(UNKNOWN, UNKNOWN + 9_000)]).note) < 300


def _column(value: int, kind: Any = np.int64, rows: int = 1) -> npt.NDArray:
    return np.full((rows, 1), value, kind)


REFUSED: dict[str, tuple[dict[str, npt.NDArray], str]] = {
    "k 0": ({"k": _column(0, np.int32)}, "k is '0', expected a whole number from 1 to 100"),
    "k -1": ({"k": _column(-1, np.int32)}, "k is '-1'"),
    "k -2": ({"k": _column(-2, np.int32)}, "k is '-2'"),
    "k 101": ({"k": _column(101, np.int32)}, "k is '101'"),
    "k far too big": ({"k": _column(2**31 - 1, np.int32)}, "expected a whole number from 1 to 100"),
    "k wrong in one row": ({"k": np.array([[3], [0]], np.int32)}, "k is '0'"),
    "user": ({"user_id": _column(-7)}, "user holds -7"),
    "item": ({"item_ids": np.array([[3, -(2**63)]])}, "items holds -9223372036854775808"),
    "deny": ({"deny": np.array([[3, -2]])}, "deny holds -2"),
    "allow": ({"allow": np.array([[3, -2]])}, "allow holds -2"),
    "a million items": ({"item_ids": np.arange(10**6)[None]}, "1,000,000 ids, at most 10,000"),
    "a million denied": ({"deny": np.arange(10**6)[None]}, "1,000,000 ids, at most 10,000"),
    "a million allowed": ({"allow": np.arange(10**6)[None]}, "1,000,000 ids, at most 10,000"),
    "nothing": ({}, "input"),
    "no rows": ({"user_id": np.zeros((0, 1), np.int64)}, "user_id"),
    "too many rows": ({"user_id": _column(1, rows=65)}, "batch-size must be <= 64"),
    "different rows": ({"user_id": _column(1, rows=2), "k": _column(3, np.int32, rows=3)}, "batch size does not match"),
    "no batch": ({"user_id": np.array([1])}, "shape"),
    "two users in a row": ({"user_id": np.array([[1, 2]])}, "shape"),
    "wrong dtype": ({"user_id": np.array([[1.0]])}, "user_id|datatype"),
    "words": ({"item_ids": np.array([[b"one"]], object)}, "item_ids|datatype"),
    "int32 for int64": ({"user_id": _column(1, np.int32)}, "user_id|datatype"),
    "no such input": ({"movie": _column(1)}, "movie"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_and_the_next_is_served(served: Served, client: Client, name: str) -> None:
    arrays, why = REFUSED[name]
    with pytest.raises(ServerError, match=why):
        client.infer("vae", arrays)
    served.still_serves(client)


NEGATIVE: dict[str, dict[str, Any]] = {
    "user": {"user": -1},
    "items": {"items": [-1]},
    "deny": {"user": 1, "deny": [-1]},
    "allow": {"user": 1, "allow": [-1]},
    "k": {"user": 1, "k": -1},
}


@pytest.mark.parametrize("name", NEGATIVE)
def test_minus_one_is_no_id_of_a_single_request(served: Served, client: Client, name: str) -> None:
    """-1 pads lists in a batch; whoever asks with it as an id or as k is told, as offline."""
    with pytest.raises(ValueError, match="-1"):
        served.wanted("vae", **NEGATIVE[name])
    with pytest.raises(ValueError, match="-1"):
        client.recommend("vae", **NEGATIVE[name])


def test_an_empty_list(served: Served, client: Client) -> None:
    nobody = client.recommend("vae", items=[], deny=[])
    assert nobody.source == POPULAR
    assert client.infer("vae", {"item_ids": np.zeros((1, 0), np.int64)})[0].source == POPULAR
    user = served.users("vae")[2]
    served.check("vae", client.recommend("vae", user=user, items=[]), user=user)


def test_an_empty_allow_list_allows_nothing(served: Served, client: Client) -> None:
    """What may be shown is sold out: better nothing, or an error, than what may not be shown."""
    user = served.users("vae")[0]
    assert served.wanted("vae", user=user, allow=[]).items == []
    try:
        answer = client.recommend("vae", user=user, allow=[])
    except ValueError:
        return
    assert answer.items == []


RAW: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\0\xff{{{",
    "no object": b"[]",
    "deep": b"[" * 100_000,
    "no inputs": b"{}",
    "half": b'{"inputs":[{"name":"k","sha',
    "a word": b'{"inputs":[{"name":"k","shape":[1,1],"datatype":"INT32","data":["abc"]}]}',
    "null": b'{"inputs":[{"name":"k","shape":[1,1],"datatype":"INT32","data":[null]}]}',
    "too large for its type": b'{"inputs":[{"name":"user_id","shape":[1,1],"datatype":"INT64","data":[%d]}]}' % 2**70,
    "another dtype": b'{"inputs":[{"name":"k","shape":[1,1],"datatype":"FP32","data":[3.0]}]}',
    "shape below 0": b'{"inputs":[{"name":"item_ids","shape":[1,-1],"datatype":"INT64","data":[1]}]}',
    "less than its shape": b'{"inputs":[{"name":"item_ids","shape":[1,5],"datatype":"INT64","data":[1]}]}',
    "more than its shape": b'{"inputs":[{"name":"item_ids","shape":[1,1],"datatype":"INT64","data":[1,2,3]}]}',
    "no such output": b'{"inputs":[{"name":"k","shape":[1,1],"datatype":"INT32","data":[3]}],"outputs":[{"name":"x"}]}',
    "k 0": b'{"inputs":[{"name":"k","shape":[1,1],"datatype":"INT32","data":[0]}]}',
}


def _post(served: Served, body: bytes, model: str = "vae") -> tuple[int, str]:
    address = f"http://127.0.0.1:{served.ports.http}/v2/models/{model}/infer"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("name", RAW)
def test_what_a_broken_client_sends_is_refused(served: Served, name: str) -> None:
    status, said = _post(served, RAW[name])
    assert status >= 400 and len(json.loads(said)["error"]) > 10
    with served.client() as client:
        served.still_serves(client)


def test_a_bad_request_is_not_a_fault_of_the_server(served: Served) -> None:
    """400, not 500: or monitoring counts people's errors as ours, and balancers take the server out."""
    status, said = _post(served, RAW["k 0"])
    assert "k is '0'" in said
    assert status == 400


def test_one_bad_request_of_a_batch_harms_no_other(served: Served) -> None:
    """Sent at the same time, so that the server puts good and bad ones in one batch."""
    users, wrong = served.users("vae")[:40], []

    def ask(own: list[int], bad: bool) -> None:
        try:
            with served.client("grpc", timeout=20) as client:
                for user in own:
                    if bad:
                        with pytest.raises(ServerError, match="k is '0'"):
                            client.recommend("vae", user=user, k=0)
                    else:
                        served.check("vae", client.recommend("vae", user=user), user=user)
        except BaseException as error:
            wrong.append(error)

    _at_once([lambda bad=bad: ask(users, bad) for bad in (True, False) * 3])
    assert not wrong


def _at_once(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def _padded(rows: list[list[int]]) -> npt.NDArray[np.int64]:
    block = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for k, row in enumerate(rows):
        block[k, : len(row)] = row
    return block


def test_rows_of_a_batch_do_not_mix(served: Served, client: Client) -> None:
    """Every row with lists of its own lengths, some with a user, some with nothing at all."""
    random, ids = np.random.default_rng(2), served.exports["vae"].items["item_id"].to_numpy()
    users = served.users("vae")
    rows: list[dict[str, Any]] = []
    for k in range(64):
        row: dict[str, Any] = {"k": int(random.integers(1, 101))}
        row["items"] = [] if k % 5 == 0 else random.choice(ids, random.integers(1, 80), replace=False).tolist()
        if k % 3 == 0:
            row["user"] = users[k]
        row["deny"] = [] if k % 4 == 0 else random.choice(ids, random.integers(1, 20)).tolist()
        if k % 2:
            row["allow"] = random.choice(ids, random.integers(1, 100)).tolist()
        rows.append(row)
    ask = {
        "user_id": np.array([[row.get("user", -1)] for row in rows], np.int64),
        "k": np.array([[row["k"]] for row in rows], np.int32),
        **{name: _padded([row.get(key, []) for row in rows])
           for name, key in (("item_ids", "items"), ("deny", "deny"), ("allow", "allow"))},
    }  # fmt: skip
    for row, answer in zip(rows, client.infer("vae", ask), strict=True):
        served.check("vae", answer, **row)


def test_padding_between_ids_is_no_id(served: Served, client: Client) -> None:
    a, b = (int(i) for i in served.exports["vae"].items["item_id"].iloc[[10, 20]])
    (answer,) = client.infer("vae", {"item_ids": np.array([[-1, a, -1, -1, b, -1]])})
    served.check("vae", answer, items=[a, b])


def test_several_threads_at_once(served: Served) -> None:
    wrong: list[BaseException] = []
    ids = {name: export.items["item_id"].to_numpy() for name, export in served.exports.items()}

    def ask(number: int) -> None:
        random = np.random.default_rng(number)
        try:
            with served.client("http" if number % 2 else "grpc", timeout=20) as client:
                for _ in range(40):
                    model = "vae" if random.random() < 0.7 else "ncf"
                    asked: dict[str, Any] = {"k": int(random.integers(1, 101))}
                    length = int(random.integers(0, 3)) if number % 3 else int(random.integers(50, 250))
                    asked["items"] = random.choice(ids[model], length, replace=False).tolist()
                    if random.random() < 0.5:
                        asked["user"] = int(random.choice(served.users(model)))
                    if random.random() < 0.3:
                        asked["deny"] = random.choice(ids[model], int(random.integers(1, 90))).tolist()
                    served.check(model, client.recommend(model, **asked), **asked)
        except BaseException as error:
            wrong.append(error)

    _at_once([lambda number=number: ask(number) for number in range(8)])
    assert not wrong


OUTSIDE = (
    "", ".", "..", "../repository/vae", "../../etc", "/etc/passwd", "vae/../ncf", "vae/1", "vae/", "vae%2f..%2fncf",
    "vae\n", "vae\0", "-vae", ".vae", "vä", "a" * 65,
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_could_be_another_folder_is_refused(
    served: Served, vae: ExportFolder, exact: dict[str, Path], name: str
) -> None:
    made = variants.converted(exact["vae"], "onnx-fp32")
    before = {path for path in served.repository.parent.rglob("*") if "server.log" not in path.name}
    for attempt in (
        lambda: repository.add_version(served.repository, name, vae, made, {}),
        lambda: repository.serve_version(served.repository, name, 1),
        lambda: repository.keep(served.repository, name, 1),
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
            client._client.load_model(name, **options)
        own_server.still_serves(client)
    assert not ran.exists(), "the server ran it"
