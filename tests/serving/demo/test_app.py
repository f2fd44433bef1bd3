"""The API and the headers of the page, over HTTP."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from recsys_core.model import Recommender
from serving.demo.api import Api
from serving.demo.parameters import Parameters
from serving.demo.served_model import ServedModel
from serving.histories.store import HistoryStore
from tests.serving.demo.conftest import TITLES
from tests.serving.demo.served_page import serving


def _get(page: str, path: str, host: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    address = urlsplit(page).netloc
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or address)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found


def _ask(page: str, name: str, *parameters: tuple[str, object], status: int = 200) -> dict[str, Any]:
    found, _, body = _get(page, f"/api/{name}?{urlencode(parameters)}")
    content: dict[str, Any] = json.loads(body)
    assert found == status, content
    if status != 200:
        assert "\n" not in content["error"]
    return content


@pytest.mark.parametrize(("number", "name"), [(0, "vae"), (1, "ease")])
def test_recommendations_are_the_models(
    page: str, number: int, name: str, fitted: dict[str, Recommender], served_models: list[ServedModel]
) -> None:
    ids = served_models[number].ids
    history = [ids[k] for k in (5, 250, 17)]
    found = _ask(page, "recommend", ("model", number), *(("item", i) for i in history), ("k", 12), ("why", 1))
    expected = fitted[name].recommend(histories={"u": [int(i) for i in history]}, k=12)
    assert [row["id"] for row in found["items"]] == [str(i) for i in expected["item"]]
    assert [row["score"] for row in found["items"]] == pytest.approx(expected["score"].tolist(), abs=1e-4)
    assert found["source"] == "model" and found["notes"] == [] and found["ms"] > 0
    reasons = [reason for row in found["items"] for reason in row["reasons"]]
    assert reasons and {reason["id"] for reason in reasons} <= set(history)
    assert all(reason["lower_by"] > 0 for reason in reasons)


def test_more_items_than_were_exported(page: str) -> None:
    found = _ask(page, "recommend", ("model", 0), ("item", _first_id(page)), ("k", 100))
    assert len(found["items"]) == 100  # the export's top-k is 50


def _first_id(page: str) -> str:
    (found,) = _ask(page, "complete", ("text", TITLES[0]))["items"]
    return str(found["id"])


def test_novelty_moves_rare_items_up(page: str, served_models: list[ServedModel]) -> None:
    item = ("item", _first_id(page))

    def users(novelty: float) -> list[int]:
        found = _ask(page, "recommend", ("model", 1), item, ("k", 20), ("novelty", novelty))
        return [row["users"] for row in found["items"]]

    assert np.mean(users(0)) > np.mean(users(0.5)) > np.mean(users(1))
    model = served_models[1]
    history, _ = model.known([item[1]])
    scores = np.array(model._engine({"item_ids": history[None, :]}, ("all_scores",))["all_scores"][0], np.float64)
    scores[history] = np.nan
    bits = -np.log2(np.maximum(model.counts, 1) / model.counts.max())
    best = np.argsort(-scores, kind="stable")[:200]  # NaN comes last
    ranked = scores[best] + 0.5 * scores[best].std() / bits[best].std() * bits[best]
    best = best[np.argsort(-ranked, kind="stable")[:20]]
    found = _ask(page, "recommend", ("model", 1), item, ("k", 20), ("novelty", 0.5))
    assert [row["id"] for row in found["items"]] == [model.ids[k] for k in best]


def test_nothing_chosen_gives_popular_items(page: str, served_models: list[ServedModel]) -> None:
    found = _ask(page, "recommend", ("model", 0), ("k", 3), ("why", 1))
    best = np.argsort(-served_models[0].counts, kind="stable")[:3]
    assert found["source"] == "popular" and [r["id"] for r in found["items"]] == [served_models[0].ids[k] for k in best]
    unknown = _ask(page, "recommend", ("model", 0), ("item", "no such id"))
    assert unknown["source"] == "popular" and unknown["notes"] == ["1 of the items are not known to this model"]


def test_similar_completion_items_and_users(page: str, fitted: dict[str, Recommender]) -> None:
    first = _first_id(page)
    found = _ask(page, "similar", ("model", 0), ("item", first), ("k", 4))
    expected = fitted["vae"].similar_items(int(first), k=4)["similar_item"]
    assert [row["id"] for row in found["items"]] == [str(i) for i in expected]
    assert [row["title"] for row in _ask(page, "complete", ("text", "toy st"))["items"]] != []
    assert [row["id"] for row in _ask(page, "items", ("item", first), ("item", "x"))["items"]] == [first]
    history = _ask(page, "history", ("user", 7))
    assert history["all"] == 3 and [row["title"] for row in history["items"]] == list(TITLES[:2])
    about = _ask(page, "models")
    assert [model["name"] for model in about["models"]] == ["vae", "ease"] and about["users"]
    assert about["models"][0]["metrics"] == {
        "ndcg@100": {"mean": 0.25, "standard_error": 0.01},
        "novelty@5": {"mean": None, "standard_error": None},
    }


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("recommend", [("item", "1")], "model is given 0 times, expected once"),
        ("recommend", [("model", "2")], "model is '2', expected a whole number from 0 to 1"),
        ("recommend", [("model", "0"), ("k", "101")], "k is '101', expected a whole number from 1 to 100"),
        ("recommend", [("model", "0"), ("novelty", "2")], "novelty is '2', expected a number from 0 to 1"),
        ("recommend", [("model", "0"), ("why", "y")], "why is 'y', expected 0 or 1"),
        ("recommend", [("model", "0"), ("user", "Ann")], "user is 'Ann', expected a whole number"),
        ("recommend", [("model", "0"), *(("item", k) for k in range(201))], "item is given 201 times"),
        ("recommend", [("modle", "0")], "unknown parameter 'modle', expected: model, item, user, k, novelty, why"),
        ("similar", [("model", "0"), ("item", "-")], "item '-' is not known to this model"),
        ("complete", [("text", "x" * 201)], "text has 201 characters, expected at most 200"),
        ("history", [("user", "8")], "user '8' is not known"),
    ],
)
def test_bad_input(page: str, name: str, parameters: list[tuple[str, object]], message: str) -> None:
    assert message in _ask(page, name, *parameters, status=400)["error"]


def test_only_this_machine_is_answered_and_nothing_else_is_loaded(page: str) -> None:
    port = urlsplit(page).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", ""):
        assert _get(page, "/api/models", host or " ")[0] == 400
    assert _get(page, "/", f"localhost:{port}")[0] == 200
    for path in ("/", "/app.js", "/style.css", "/api/models", "/api/recommend", "/nothing", "/card/0"):
        _, headers, _ = _get(page, path)
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers
    assert _get(page, "/api/models", method="POST")[0] == 405
    for path in ("/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/card/9", "/card/x", "/api/none"):
        status, _, body = _get(page, path)
        assert status == 404 and json.loads(body)["error"]


def test_the_page_names_no_other_host() -> None:
    for file in (Path(__file__).parents[3] / "serving" / "demo" / "page").iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "//cdn" not in text, file.name


def test_a_model_card_runs_no_program(page: str, folders: dict[str, Path]) -> None:
    card = folders["ease"] / "export" / "MODEL_CARD.html"
    card.write_text("<h1>Card</h1><script>alert(1)</script>")
    try:
        status, headers, body = _get(page, "/card/1")
        assert status == 200 and body == card.read_bytes() and headers["content-type"].startswith("text/html")
        policy = headers["content-security-policy"]
        assert "sandbox" in policy and "script-src" not in policy and "default-src 'none'" in policy
        assert _ask(page, "models")["models"][1]["card"]
    finally:
        card.unlink()


class _Slow(ServedModel):
    """A model each of whose steps takes a while."""

    def recommend(self, ids: Any, user: Any, *, check: Any, **others: Any) -> Any:
        def slow() -> None:
            time.sleep(0.2)
            check()

        self.steps = 0
        for self.steps in range(1, 50):
            slow()
        return super().recommend(ids, user, check=check, **others)


def test_a_request_ends_at_its_bound(served_models: list[ServedModel], store: HistoryStore) -> None:
    slow = _Slow("slow", served_models[0].export, served_models[0]._engine)
    with serving([slow], longest_s=0.5) as page:
        started = time.monotonic()
        content = _ask(page, "recommend", ("model", 0), ("item", slow.ids[0]), status=503)
        assert content["error"] == "the request took longer than 0.5 s and was given up; ask for less"
        assert time.monotonic() - started < 5
        time.sleep(1)
        assert slow.steps < 10  # the work stopped too
        assert _ask(page, "models")["models"]
    del store


def test_without_a_store_nobody_is_known(served_models: list[ServedModel]) -> None:
    api = Api(served_models[:1])
    with pytest.raises(ValueError, match="this page knows no users; start it with --store or --data"):
        api.methods["history"][0](Parameters.read([("user", "7")], ("user",)), lambda: None)
