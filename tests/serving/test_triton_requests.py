"""A real Triton server answers every kind of valid request as the recommender does without a server."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serving.recommend.recommender import MODEL, POPULAR
from serving.triton import server
from serving.triton.client import Client, ServerError
from tests.serving.processes import run_at_once
from tests.serving.served import Served

pytestmark = pytest.mark.slow

UNKNOWN = 10**12
"""Neither a user nor an item."""


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
        for request in (
            {"items": items},
            {"items": items, "k": 100, "deny": random.choice(ids, 30).tolist()},
            {"items": items, "k": 5, "allow": random.choice(ids, 60).tolist()},
            {"items": items, "k": 7, "user": served.users("vae")[length % 50]},
        ):
            served.check("vae", client.recommend("vae", **request), **request)  # type: ignore[arg-type]


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
    for request in ({}, {"user": UNKNOWN}, {"items": [UNKNOWN]}, {"user": 2**63 - 1}):
        answer = client.recommend(model, k=20, **request)  # type: ignore[arg-type]
        assert (answer.source, answer.items) == (POPULAR, popular[:20])
        served.check(model, answer, k=20, **request)
    without = client.recommend(model, k=20, deny=popular[:5])
    assert without.items == popular[5:25]


def test_what_is_unknown_is_noted(served: Served, client: Client) -> None:
    known = int(served.exports["vae"].items["item_id"].iloc[4])
    answer = client.recommend("vae", items=[UNKNOWN, known, UNKNOWN + 1])
    assert answer.source == MODEL
    assert answer.note == f"not known: {UNKNOWN}, {UNKNOWN + 1}"
    assert answer.items == client.recommend("vae", items=[known]).items
    assert str(UNKNOWN) in client.recommend("vae", user=UNKNOWN).note
    assert "for its known users only" in client.recommend("ncf", items=[known]).note
    assert len(client.recommend("vae", items=[known, *range(UNKNOWN, UNKNOWN + 9_000)]).note) < 300


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


def test_several_threadsrun_at_once(served: Served) -> None:
    wrong: list[BaseException] = []
    ids = {name: export.items["item_id"].to_numpy() for name, export in served.exports.items()}

    def ask(number: int) -> None:
        random = np.random.default_rng(number)
        try:
            with served.client("http" if number % 2 else "grpc", timeout=20) as client:
                for _ in range(40):
                    model = "vae" if random.random() < 0.7 else "ncf"
                    request: dict[str, Any] = {"k": int(random.integers(1, 101))}
                    length = int(random.integers(0, 3)) if number % 3 else int(random.integers(50, 250))
                    request["items"] = random.choice(ids[model], length, replace=False).tolist()
                    if random.random() < 0.5:
                        request["user"] = int(random.choice(served.users(model)))
                    if random.random() < 0.3:
                        request["deny"] = random.choice(ids[model], int(random.integers(1, 90))).tolist()
                    served.check(model, client.recommend(model, **request), **request)
        except BaseException as error:
            wrong.append(error)

    run_at_once([lambda number=number: ask(number) for number in range(8)])
    assert not wrong
