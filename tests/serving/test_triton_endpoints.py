"""The generate endpoint and the metrics endpoint of a real server; counters and fields without one."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest

from serving.recommend.recommender import MODEL, POPULAR, Recommendation
from serving.recommend.requests import Request, RequestError
from serving.triton.backend import INPUTS
from serving.triton.fields import refuse_unknown
from serving.triton.monitoring import ANSWERS, FAMILIES, Counters, count_rows
from tests.conftest import ROOT
from tests.serving.served import Served


def _generate(served: Served, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    url = f"http://127.0.0.1:{served.ports.http}/v2/models/vae/generate"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_generate_takes_plain_json(served: Served) -> None:
    user, (first, second) = served.users("vae")[0], served.exports["vae"].item_ids.tolist()[:2]
    for body, wanted in (
        ({"user_id": user, "k": 5}, {"user": user, "k": 5}),
        ({"item_ids": [first, second], "k": 4}, {"items": [first, second], "k": 4}),
        ({"item_ids": first, "k": 4}, {"items": [first], "k": 4}),
        ({"user_id": user, "deny": [first, second]}, {"user": user, "deny": [first, second]}),
    ):
        status, got = _generate(served, body)
        want = served.wanted("vae", **wanted)
        assert status == 200 and got["items"] == want.items and got["source"] == want.source, body
    assert _generate(served, {"user_id": user, "k": 1})[1]["items"] == served.wanted("vae", user=user, k=1).items[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"user": 1, "k": 2}, 400, "unknown field 'user' (do you mean user_id?)"),
        ({"item_id": 1, "k": 2}, 400, "unknown field 'item_id' (do you mean item_ids?)"),
        ({"k": 0}, 400, "k is '0'"),
        ({"user": [1, 2], "k": 2}, 400, "'user'"),
        ({"item_ids": [[1, 2]], "k": 2}, 500, "Unable to parse 'data'"),  # Triton's own, before the model
        ({"user_id": "one", "k": 2}, 500, "Unable to parse 'data'"),
    ],
)
def test_generate_says_what_is_wrong(served: Served, body: dict[str, Any], status: int, why: str) -> None:
    got, said = _generate(served, body)
    assert got == status and why in said["error"]
    with served.client() as client:
        served.still_serves(client)


def _scrape(served: Served) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.ports.metrics}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {re.sub(r',?version="\d+"', "", name): float(value) for name, value in lines}


@pytest.mark.slow
def test_metrics_count_what_was_answered(served: Served) -> None:
    user = served.users("vae")[0]
    before = _scrape(served)
    rows = np.array([[user], [user], [10**12]])
    with served.client("grpc") as client:
        client.infer("vae", {"user_id": rows, "k": np.full((3, 1), 2, np.int32)})
        client.recommend("vae", items=[10**12], k=1)
        client.recommend("vae", user=user, k=2, allow=[served.wanted("vae", user=user, k=1).items[0]])
    assert _generate(served, {"k": 0})[0] == 400
    after = _scrape(served)
    added = {name: value - before.get(name, 0.0) for name, value in after.items() if 'model="vae"' in name}
    assert added['recsys_answers_total{model="vae",source="model"}'] == 3
    assert added['recsys_answers_total{model="vae",source="popular"}'] == 2
    assert added['recsys_short_answers_total{model="vae"}'] == 1
    assert added['recsys_unknown_users_total{model="vae"}'] == 1
    assert added['recsys_unknown_items_total{model="vae"}'] == 1
    assert added['recsys_refused_requests_total{model="vae"}'] == 1
    assert added['nv_inference_request_success{model="vae"}'] == 4  # for Triton, a refused request is one too
    assert added['nv_inference_count{model="vae"}'] >= 5
    documented = (ROOT / "docs" / "triton.md").read_text()
    for name in re.findall(r"`((?:nv|recsys)_[a-z_]+)`", documented):
        assert any(known.startswith(name) for known in after), f"docs/triton.md names {name}"
    assert all(f"`{name}`" in documented for name in FAMILIES)


@pytest.mark.slow
def test_the_documentation_names_the_version_of_the_server(served: Served) -> None:
    with served.client() as client:
        version = client.server_version()
    assert f"server {version}" in (ROOT / "docs" / "triton.md").read_text()


def test_fields_of_the_protocol_are_no_mistake() -> None:
    refuse_unknown({"priority": 1, "timeout": 5, "triton_enable_empty_final_response": True}, INPUTS)
    with pytest.raises(
        RequestError, match=r"unknown field 'users' \(do you mean user_id\?\); known are: user_id, item"
    ):
        refuse_unknown({"users": 1}, INPUTS)
    with pytest.raises(RequestError, match=r"unknown field 'zzz'; known"):
        refuse_unknown({"zzz": 1}, INPUTS)


def _answer(source: str, items: int, **words: Any) -> Recommendation:
    ids, scores = np.arange(items), np.ones(items, np.float32)
    return Recommendation(source=source, item_ids=ids, titles=("",) * items, scores=scores, **words)


def test_rows_are_counted() -> None:
    asked = [Request(user_id=7, k=3), Request(user_id=None, k=2), Request(user_id=8, k=2)]
    given = [
        _answer(POPULAR, 3, note="user 7 is not known; more"),
        _answer(MODEL, 1, unknown=(5, "x")),
        _answer(MODEL, 2),
    ]
    found = {key: number for key, number in count_rows(asked, given).items() if number}
    assert found == {
        (ANSWERS, "popular"): 1,
        (ANSWERS, "model"): 2,
        ("recsys_short_answers_total", ""): 1,
        ("recsys_unknown_users_total", ""): 1,
        ("recsys_unknown_items_total", ""): 2,
    }


def test_a_backend_without_metrics_serves_all_the_same() -> None:
    counters = Counters(object(), "m", "1")
    counters.answered([Request(user_id=7, k=3)], [_answer(MODEL, 3)])
    counters.refused()
    counters.failed(2)
