"""A real Triton server refuses bad requests with a clear error, and answers the next request."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from serving.recommend.recommender import POPULAR
from serving.triton.client import Client, ServerError
from tests.serving.processes import run_at_once
from tests.serving.served import Served

pytestmark = pytest.mark.slow


def _column(value: int, kind: Any = np.int64, rows: int = 1) -> npt.NDArray:
    return np.full((rows, 1), value, kind)


REFUSED: dict[str, tuple[dict[str, npt.NDArray], str]] = {
    "k 0": ({"k": _column(0, np.int32)}, "k is '0', expected a whole number from 1 to 300"),
    "k -1": ({"k": _column(-1, np.int32)}, "k is '-1'"),
    "k -2": ({"k": _column(-2, np.int32)}, "k is '-2'"),
    "k 301": ({"k": _column(301, np.int32)}, "k is '301'"),
    "k far too big": ({"k": _column(2**31 - 1, np.int32)}, "expected a whole number from 1 to 300"),
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

    run_at_once([lambda bad=bad: ask(users, bad) for bad in (True, False) * 3])
    assert not wrong
