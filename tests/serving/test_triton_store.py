"""A real Triton server whose model reads a store: an event counts in the next request, and the store may go away."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from serving import targets
from serving.__main__ import main
from serving.engines.engine import open_engine
from serving.export_folder import ExportFolder, open_export
from serving.histories.events import RETRY_AFTER_S
from serving.recommend.recommender import Recommender
from serving.recommend.requests import check_request
from serving.triton import repository, server
from serving.triton.client import Client, ServerError
from tests.serving.histories.servers import RedisServer, running_redis
from tests.serving.test_without_users import without_users

NEW_USER = 9_007_199_254_740_993
"""No float64."""


@pytest.fixture(scope="module")
def run(vae_export: Path, artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_users(vae_export, tmp_path_factory.mktemp("store") / "run")


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISCLI_AUTH", opened.password)
        yield opened


def build(run: Path, folder: Path, address: str, *words: str) -> int:
    where = ["--export", str(run), "--repository", str(folder), "--name", "films"]
    return main(["triton", "build", *where, "--store", address, *words])


def assert_rows_are_answered_each(port: int, client: Client, items: Sequence[Any]) -> None:
    """A request of four rows, two of which are refused; the others are written."""
    rows = {
        "user_id": [NEW_USER + 2, 78, NEW_USER + 4, NEW_USER + 2],
        "item_ids": [items[0], -1, items[1], items[2]],
        "time": [5, 5, 2**40, 5],
    }
    inputs = [{"name": n, "shape": [4, 1], "datatype": "INT64", "data": values} for n, values in rows.items()]
    found = post(port, "films_events", {"inputs": inputs})
    outputs = {output["name"]: output["data"] for output in found["outputs"]}
    assert outputs["written"] == [1, -1, -1, 1]
    assert [note[:5] for note in outputs["note"]] == ["", "row 1", "row 2", ""]
    assert "expected whole seconds since 1970" in outputs["note"][2]
    answer = client.recommend("films", user=NEW_USER + 2, k=5)
    assert answer.source == "model" and not {items[0], items[2]} & set(answer.items)
    assert client.recommend("films", user=NEW_USER + 4, k=5).source == "popular"  # nothing of the row was written


def post(port: int, model: str, body: dict[str, Any]) -> Any:
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=20) as answer:
        return json.load(answer)


def test_events_count_and_the_store_may_go_away(
    run: Path, vae: ExportFolder, tiny_data: Path, redis_store: RedisServer, tmp_path: Path, capsys: Any
) -> None:
    folder, user = tmp_path / "models", int(vae.user_ids[3])
    assert main(["histories", "load", "--data", str(tiny_data), "--store", redis_store.address]) == 0
    secret = redis_store.address.replace("://", "://:s3cret%2F%40%3A@")
    assert build(run, folder, secret, "--accept-events") == 0
    assert "the password is not written" in capsys.readouterr().out
    assert all(b"s3cret" not in p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert not [p for p in folder.rglob("*") if p.name in ("users.parquet", "histories.npz", "test.npz")]
    with server.running(folder) as (_, ports), Client(f"127.0.0.1:{ports.http}", retries=0, timeout=20) as client:
        before = client.recommend("films", user=user, k=5)
        assert before.source == "model"
        assert client.append("films_events", user, before.items[:2]) == 2
        after = client.recommend("films", user=user, k=5)
        assert after.source == "model" and not set(before.items[:2]) & set(after.items)
        assert client.append("films_events", NEW_USER, before.items[:1], time=1_700_000_000) == 1
        assert client.recommend("films", user=NEW_USER, k=5).source == "model"
        with pytest.raises(ServerError, match="time is 1700000000000, expected whole seconds"):
            client.append("films_events", user, before.items[:1], time=1_700_000_000_000)
        assert_rows_are_answered_each(ports.http, client, before.items)
        redis_store.kill()
        with pytest.raises(ServerError, match="the store of histories does not answer") as caught:
            client.recommend("films", user=user)
        assert str(redis_store.port) not in str(caught.value).split("answer")[-1]
        with pytest.raises(ServerError, match="the store of histories does not answer"):
            client.append("films_events", user, before.items[:1])
        assert client.recommend("films", items=before.items[:2], k=5).source == "model"  # needs no store
        redis_store.start()
        time.sleep(RETRY_AFTER_S)
        assert client.recommend("films", user=user, k=5) == after
        assert client.append("films_events", user, after.items[:1]) == 1
        flags = ["client", "--name", "films", "--url", f"127.0.0.1:{ports.http}", "--user", str(user)]
        assert main([*flags, "--bought", str(after.items[1])]) == 0
        assert f"1 of 1 events changed the history of user {user}" in capsys.readouterr().out


def test_popular_items_while_an_sqlite_file_is_away(
    run: Path, vae: ExportFolder, tiny_data: Path, tmp_path: Path
) -> None:
    folder, file, user = tmp_path / "models", tmp_path / "h.db", int(vae.user_ids[3])
    assert main(["histories", "load", "--data", str(tiny_data), "--store", f"sqlite:///{file}"]) == 0
    assert build(run, folder, f"sqlite:///{file}", "--store-down", "popular") == 0
    assert not (folder / "films_events").exists()
    file.rename(tmp_path / "away")  # the server starts without it
    with server.running(folder) as (_, ports), Client(f"127.0.0.1:{ports.http}", retries=0, timeout=20) as client:
        away = client.recommend("films", user=user, k=5)
        assert (away.source, away.note) == ("popular", "the store of histories does not answer")
        (tmp_path / "away").rename(file)
        assert client.recommend("films", user=user, k=5).source == "model"


def test_what_is_no_store_for_a_model(run: Path, tiny_data: Path, tmp_path: Path, capsys: Any) -> None:
    def refused(address: str, *words: str) -> str:
        assert build(run, tmp_path / "models", address, *words) == 2
        return capsys.readouterr().err

    text = f"sqlite:///{tmp_path / 'text.db'}"
    assert main(["histories", "add", "--store", text, "--user", "u", "--items", "a", "--text-ids"]) == 0
    assert "are text, those of the model are whole numbers" in refused(text)
    assert "does not exist" in refused(f"sqlite:///{tmp_path / 'none.db'}")
    assert "is read only; take an SQLite file, PostgreSQL or Redis" in refused(str(tiny_data), "--accept-events")
    where = ["--export", str(run), "--repository", str(tmp_path / "models")]
    assert main(["triton", "build", *where, "--accept-events"]) == 2
    assert "--accept-events needs --store" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_new_version_keeps_the_store(run: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    assert build(run, folder, str(tiny_data)) == 0
    settings = json.loads((folder / "films" / "store.json").read_text())
    assert settings == {"address": str(tiny_data), "user_type": "int64", "if_down": "error", "view": ""}
    assert main(["triton", "build", "--export", str(run), "--repository", str(folder), "--name", "films"]) == 0
    assert repository.served_version(folder / "films") == 2
    assert json.loads((folder / "films" / "store.json").read_text()) == settings


def test_without_a_store_users_come_from_the_data_set(
    run: Path, vae: ExportFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    assert main(["triton", "build", "--export", str(run), "--repository", str(folder), "--name", "films"]) == 0
    assert "users come from the data set" in capsys.readouterr().out
    version = folder / "films" / "1"
    recommender = Recommender(open_export(version / "export"), open_engine(targets.artifact(version, "onnx-fp32")))
    (answer,) = recommender.recommend([check_request(user_id=int(vae.user_ids[3]), k=5, top_k=5)])
    assert (answer.source, answer.note) == ("model", "")
    (version / "run.json").unlink()
    recommender = Recommender(open_export(version / "export"), open_engine(targets.artifact(version, "onnx-fp32")))
    (answer,) = recommender.recommend([check_request(user_id=int(vae.user_ids[3]), k=5, top_k=5)])
    assert answer.source == "popular" and "no store was named" in answer.note
