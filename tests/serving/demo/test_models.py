"""Models of users (NCF) and of earlier versions on the page, and the errors of the command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recsys_core.dataset import Dataset
from serving.__main__ import main
from serving.demo import command
from serving.demo.api import Api
from serving.demo.parameters import Parameters
from serving.demo.served_model import ServedModel
from serving.engines.engine import reference_engine
from serving.export_folder import SERVING, open_export
from serving.histories.dataset import DatasetStore
from serving.similar.finder import SimilarItems
from tests.conftest import ROOT

EARLIER = ROOT / "tests" / "format_1" / "vae" / "export"
"""Of version 2, without all_scores, vectors and titles."""


def _ask(api: Api, name: str, *pairs: tuple[str, object]) -> dict[str, Any]:
    method, known = api.methods[name]
    return method(Parameters.read([(n, str(v)) for n, v in pairs], known), lambda: None)


def test_a_model_of_users(ncf_folder: Path, tiny_pairs: Path) -> None:
    export, store = open_export(ncf_folder), DatasetStore(Dataset.open(tiny_pairs))
    model = ServedModel("ncf", export, reference_engine(export, SERVING), store=store)
    api = Api([model], store)
    about = _ask(api, "models")["models"][0]
    assert about["needs_user"] and "not from histories" in about["no_reasons"] and about["similar"]
    (user,) = next(store.users(1))
    items = [row["id"] for row in _ask(api, "history", ("user", user))["items"]]
    assert len(items) > 3
    found = _ask(api, "recommend", ("model", 0), ("user", user), ("k", 7), ("why", 1))
    assert found["source"] == "model" and len(found["items"]) == 7
    assert not {row["id"] for row in found["items"]} & set(items)
    assert "not from histories" in found["notes"][-1] and found["items"][0]["reasons"] == []
    alone = _ask(api, "recommend", ("model", 0), *(("item", i) for i in items[:3]))
    assert alone["source"] == "popular"
    assert alone["notes"] == ["this model ranks items for its own users: choose a user"]
    unknown = _ask(api, "recommend", ("model", 0), ("user", 10**15))
    assert unknown["source"] == "popular" and "is not known" in unknown["notes"][0]


def test_a_model_of_an_earlier_version() -> None:
    export = open_export(EARLIER)
    model = ServedModel("earlier", export, reference_engine(export, SERVING))
    api = Api([model])
    about = _ask(api, "models")["models"][0]
    assert about["largest_k"] == min(100, export.top_k) and "made before reasons were added" in about["no_reasons"]
    item = ("item", model.ids[0])
    found = _ask(api, "recommend", ("model", 0), item, ("k", 5), ("why", 1))
    answer = reference_engine(export, SERVING)({"item_ids": model.known([model.ids[0]])[0][None, :]})
    assert [row["id"] for row in found["items"]] == [model.ids[k] for k in answer["items"][0][:5]]
    assert found["notes"] == [about["no_reasons"]] and found["items"][0]["reasons"] == []
    assert _ask(api, "recommend", ("model", 0), item, ("novelty", 1))["items"] != found["items"]
    similar = _ask(api, "similar", ("model", 0), item, ("k", 3))["items"]
    assert len(similar) == 3 and all(row["id"] != model.ids[0] for row in similar)
    assert SimilarItems(export, lambda: reference_engine(export, SERVING)).find(0, 3)[0].tolist() == [
        model.index_of[row["id"]] for row in similar
    ]


def test_what_the_command_refuses(
    folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["demo", "--export", str(folders["vae"])]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for more, message in (
            (["--port", port], f"port {port} cannot be used (Address already in use); take another one with --port"),
            (["--port", "70000"], "--port is 70000, expected 0 to 65535"),
            (["--export", "a", "--export", "b"], "--export is given 3 times, expected once or twice"),
            (["--export", "no-such-run"], "--export no-such-run does not exist"),
            (["--store", "mongo://x"], "--store is an address of 'mongo'"),
            (["--model", "onnx-fp64", "--port", "0"], "unknown target 'onnx-fp64'"),
        ):
            assert main([*words, *more]) == 2
            assert message in capsys.readouterr().err
    monkeypatch.setattr(command, "PACKAGES", ("starlette", "no_such_package"))
    assert main(words) == 2
    assert "no_such_package not installed; install with: pip install" in capsys.readouterr().err


def test_names_tell_runs_apart() -> None:
    names = command._names
    assert names([Path("/a/first/export"), Path("/a/second")]) == ["first", "second"]
    assert names([Path("/a/run/export"), Path("/b/run")]) == ["a/run", "b/run"]
    assert names([Path("/a/run"), Path("/a/run")]) == ["run (1)", "run (2)"]


def test_the_command_serves_until_it_is_interrupted(folders: Mapping[str, Path]) -> None:
    words = [sys.executable, "-m", "serving", "demo", "--export", str(folders["ease"]), "--port", "0"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{address}/api/models", timeout=30) as answer:
            assert json.load(answer)["models"][0]["name"] == folders["ease"].name
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130) and "Traceback" not in err
