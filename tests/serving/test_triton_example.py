"""`triton serve` prints a command that works as it is: its body is posted with urllib. Ids may be text."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from load_study.engines.triton import ExportRequests
from serving import targets
from serving.__main__ import main
from serving.export_folder import IdTypes, open_export
from serving.triton import repository, server
from serving.triton.client import TYPES, Client, ServerError
from serving.triton.config import Service
from serving.triton.example import example_command, http_url
from serving.triton.server import Ports
from tests.conftest import ROOT
from tests.serving import other_ids
from tests.serving.test_triton_serve import _serve_command
from tests.serving.two_models import NAME, Models, build

pytestmark = pytest.mark.slow


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Outputs of Triton's HTTP/REST inference protocol by name: the data of each."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {output["name"]: output["data"] for output in json.load(answer)["outputs"]}


def _read_command(line: str) -> tuple[str, dict[str, Any]]:
    """URL and body of a curl command."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-s"] and words[3] == "-d" and len(words) == 5
    return words[2], json.loads(words[4])


def test_serve_prints_a_command_that_works(models: Models, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    build(models.old, folder)
    with _serve_command(folder) as (command, ports, _):
        assert command.stdout is not None
        lines = [command.stdout.readline() for _ in range(5)]
        assert lines[0] == f"URL: http://127.0.0.1:{ports.http} (stop the server with Ctrl-C)\n"
        assert lines[1:3] == ["ask it from another terminal with:\n", "\n"]
        url, body = _read_command(lines[3].strip())
        user = next(iter(models.old_answers))
        assert [i["data"] for i in body["inputs"]] == [[user], [5]]
        answer = _post(url, body)
        assert answer["source"] == ["model"]
        assert answer["items"] == models.old_answers[user].items[:5]
        done = subprocess.run(shlex.split(lines[3]), capture_output=True, text=True, timeout=20)
        assert json.loads(done.stdout)["outputs"][0]["data"] == answer["items"]


def test_the_server_runs_the_code_that_started_it(command: Any, tmp_path: Path) -> None:
    """The interpreter of Triton's Python backend ignores PYTHONPATH, as `python -I` does."""
    package = tmp_path / "code" / "serving" / "triton"
    package.mkdir(parents=True)
    (package / "backend.py").write_text("class TritonPythonModel: pass\nprint(__file__)\n")
    (tmp_path / "model.py").write_text(repository.MODEL_PY)
    done = command([sys.executable, "-I", tmp_path / "model.py"], env={"PYTHONPATH": str(tmp_path / "code")})
    assert done.stdout == f"{package / 'backend.py'}\n", done.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("films.example.org", "http://films.example.org:8000"),
    ],
)
def test_the_url_can_be_reached_from_this_machine(host: str, url: str) -> None:
    assert http_url(host, 8000) == url


def test_the_commands_of_the_documentation_are_requests() -> None:
    text = (ROOT / "docs" / "triton.md").read_text()
    found = re.findall(r"^ *(curl -s http\S+/infer -d .*?\]\}')$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 3
    for line in found:
        url, body = _read_command(line)
        assert url == "http://127.0.0.1:8000/v2/models/vaecf/infer"
        for given in body["inputs"]:
            assert given["datatype"] == TYPES[given["name"]]
            assert math.prod(given["shape"]) == len(given["data"])


def test_a_repository_without_a_recommender_has_no_example(models: Models, tmp_path: Path) -> None:
    assert example_command(tmp_path, "127.0.0.1", 8000) is None
    build(models.old, tmp_path)
    assert example_command(tmp_path, "127.0.0.1", 8000, load="other*") is None
    assert f"/v2/models/{NAME}/infer" in str(example_command(tmp_path, "127.0.0.1", 8000, load="*"))


TITLES = ("Toy Story (1995)", "Shawshank Redemption, The (1994)", "Emma (1996)", "Emma (2009)")
TEXT, DIGITS, NEGATIVE = "text", "digits", "negative"
KINDS = (TEXT, DIGITS, NEGATIVE)


@pytest.fixture(scope="module")
def exports(vae_export: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model with ids that are text, of ten digits, and of 19 digits above and below 0, with -1 among them."""
    folder = tmp_path_factory.mktemp("ids")
    text = {"user": lambda u: f"o'user{u}@example.org", "item": lambda i: f"sku-{i:03}é"}
    digits = {"user": lambda u: 7_000_000_000 + u, "item": lambda i: 6_000_000_000 + i}
    negative = {"user": lambda u: -1 - u * (2**53 + 1), "item": lambda i: (i - 150) * (2**55 + 1) - 1}
    return {
        NEGATIVE: other_ids.copy(vae_export, folder / NEGATIVE, titles=TITLES, **negative),
        TEXT: other_ids.copy(vae_export, folder / TEXT, titles=TITLES, **text),
        DIGITS: other_ids.copy(vae_export, folder / DIGITS, titles=TITLES, **digits),
    }


@pytest.fixture(scope="module")
def ported(
    exports: dict[str, Path], artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Ports]]:
    """A repository with both models, and the ports of its server."""
    folder = tmp_path_factory.mktemp("ids") / "repository"
    made = targets.artifact(artifacts["vae"], "onnx-fp32")
    for name, export in exports.items():
        repository.serve_version(
            folder, name, repository.add_version(folder, name, open_export(export), made), Service()
        )
    with server.running(folder) as (_, ports):
        yield folder, ports


Ported = tuple[Path, Ports]


@pytest.mark.parametrize("name", KINDS)
def test_the_example_of_any_ids_works(ported: Ported, exports: dict[str, Path], name: str) -> None:
    folder, ports = ported
    url, body = _read_command(str(example_command(folder, "127.0.0.1", ports.http, load=name)))
    known = open_export(exports[name])
    assert body["inputs"][0]["data"] == [known.user_ids.tolist()[0]]
    answer = _post(url, body)
    assert answer["source"] == ["model"] and len(answer["items"]) == 5
    assert set(answer["items"]) <= set(known.item_ids.tolist())


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_both_kinds_of_ids_have_the_same_answers(ported: Ported, exports: dict[str, Path], protocol: str) -> None:
    text, digits, negative = (open_export(exports[name]) for name in KINDS)
    number_of = dict(zip(text.item_ids.tolist(), digits.item_ids.tolist(), strict=True))
    number_below = dict(zip(text.item_ids.tolist(), negative.item_ids.tolist(), strict=True))
    port = ported[1].http if protocol == "http" else ported[1].grpc
    with Client(f"127.0.0.1:{port}", protocol=protocol) as client:
        assert client.id_types(TEXT) == IdTypes(user=str, item=str)
        assert client.id_types(DIGITS) == IdTypes(user=int, item=int)
        assert client.id_types(NEGATIVE) == IdTypes(user=int, item=int, below_zero=True)
        for row in range(0, 50, 10):
            asked = [
                client.recommend(
                    name,
                    user=export.user_ids.tolist()[row],
                    items=export.item_ids.tolist()[row : row + 2],
                    deny=export.item_ids.tolist()[20:40],
                    k=20,
                )
                for name, export in ((TEXT, text), (DIGITS, digits), (NEGATIVE, negative))
            ]
            assert [number_below[item] for item in asked[0].items] == asked[2].items  # type: ignore[index]
            assert [number_of[item] for item in asked[0].items] == asked[1].items  # type: ignore[index]
            assert asked[0].source == asked[1].source == "model" and len(asked[0].items) == 20
        stranger = client.recommend(TEXT, user="nobody", items=["sku-none"], k=3)
        assert stranger.source == "popular" and stranger.note == "user nobody is not known; not known: sku-none"
        first, second = client.infer(TEXT, {"item_ids": np.array([["sku-001é".encode(), b""], [b"", b""]], object)})
        assert (first.source, second.source) == ("model", "popular")
        with pytest.raises(ServerError, match="user holds '', expected an id"):
            client.recommend(TEXT, user="")
        with pytest.raises(ServerError, match="items holds -5, expected 0 or more"):
            client.recommend(DIGITS, items=[-5])
        with pytest.raises(ServerError, match="items holds -9223372036854775808, expected -922337"):
            client.recommend(NEGATIVE, items=[-(2**63)])
        of_nobody = client.infer(NEGATIVE, {"item_ids": np.array([[-(2**63)], [negative.item_ids[0]]], np.int64)})
        assert [answer.source for answer in of_nobody] == ["popular", "model"]


@pytest.mark.parametrize("name", KINDS)
def test_items_are_named_by_title_over_http(ported: Ported, exports: dict[str, Path], name: str) -> None:
    url = f"http://127.0.0.1:{ported[1].http}/v2/models/{name}/infer"
    ids = open_export(exports[name]).item_ids.tolist()
    titles = {"name": "titles", "shape": [1, 2], "datatype": "BYTES", "data": ["toy story", "The Shawshank Redemption"]}
    items = {"name": "item_ids", "shape": [1, 2], "datatype": "BYTES" if name == TEXT else "INT64", "data": ids[:2]}
    assert _post(url, {"inputs": [titles]}) == _post(url, {"inputs": [items]})
    unknown = _post(url, {"inputs": [titles | {"data": ["Toy Story", "Alien"]}]})
    assert (unknown["source"], unknown["note"]) == (["model"], ["not known: Alien"])
    with pytest.raises(urllib.error.HTTPError) as refused:
        _post(url, {"inputs": [titles | {"data": ["Emma", ""]}]})
    assert json.loads(refused.value.read()) == {
        "error": '2 items match the title "Emma"; give the full title or the id of one: '
        f'id {ids[2]}: "Emma (1996)" id {ids[3]}: "Emma (2009)"'
    }


@pytest.mark.parametrize("name", KINDS)
def test_generate_takes_and_gives_ids_of_their_own_type(ported: Ported, exports: dict[str, Path], name: str) -> None:
    """Text as text, and all digits of numbers beyond 2^53, which a double cannot hold."""
    known = open_export(exports[name])
    user, items = known.user_ids.tolist()[4], known.item_ids.tolist()[150:152]
    url = f"http://127.0.0.1:{ported[1].http}/v2/models/{name}"
    request = urllib.request.Request(f"{url}/generate", json.dumps({"user_id": user, "deny": items, "k": 7}).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        got = json.load(answer)
    asked = [("user_id", [user]), ("deny", items)]
    kinds = {"user_id": "BYTES" if name == TEXT else "INT64", "deny": "BYTES" if name == TEXT else "INT64"}
    inputs = [{"name": n, "shape": [1, len(v)], "datatype": kinds[n], "data": v} for n, v in asked]
    inputs.append({"name": "k", "shape": [1, 1], "datatype": "INT32", "data": [7]})
    assert got["source"] == "model" and got["items"] == _post(f"{url}/infer", {"inputs": inputs})["items"]
    assert set(got["items"]) <= set(known.item_ids.tolist()) - set(items) and len(got["items"]) == 7


@pytest.mark.parametrize("name", KINDS)
def test_the_client_prints_ids_whole(
    ported: Ported, exports: dict[str, Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    export = open_export(exports[name])
    user, item = (str(ids.tolist()[4]) for ids in (export.user_ids, export.item_ids))
    where = ["client", "--url", f"127.0.0.1:{ported[1].http}", "--name", name, "-k", "4"]
    assert main([*where, f"--user={user}", f"--items={item}", "--titles", "toy story"]) == 0
    printed = [line.split()[-2] for line in capsys.readouterr().out.splitlines()[2:]]
    assert main([*where, "--user", user, "--items", item, "--titles", "toy story", "--json"]) == 0  # -1 is no flag
    found = json.loads(capsys.readouterr().out)["items"]
    assert printed == [str(i["id"]) for i in found] and len(printed) == 4
    assert {i["id"] for i in found} <= set(export.item_ids.tolist())


@pytest.mark.parametrize("name", KINDS)
def test_the_load_study_asks_with_original_ids(ported: Ported, exports: dict[str, Path], name: str) -> None:
    inputs = ExportRequests(exports[name]).draw(6, np.random.default_rng(0))
    with Client(f"127.0.0.1:{ported[1].http}") as client:
        answers = client.infer(name, inputs)
    assert [a.source for a in answers] == ["model"] * 6
    assert all(a.note == "" for a in answers)
