"""Rows of events to events of a store and counts to tensors, without a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from serving.histories.events import Event
from serving.histories.sqlite import SqliteStore
from serving.ids import IdTypes
from serving.recommend.requests import RequestError
from serving.triton.events_backend import TritonPythonModel, check_rows, read_rows, to_arrays


def _ids(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int64)


def _arrays(users: np.ndarray | None, items: np.ndarray | None, times: np.ndarray | None = None) -> dict:
    return {"user_id": users, "item_ids": items, "time": times}


def test_a_bad_row_keeps_its_place_and_the_others_are_read() -> None:
    read = read_rows(
        _arrays(_ids([5], [6], [-1], [8]), _ids([7, -1], [-1, -1], [1, 2], [3, 4]), _ids([9], [0], [9], [0])), False
    )
    first, second, third, fourth = check_rows(read, IdTypes())
    assert first == [Event(5, 7, 9)]
    assert isinstance(fourth, list) and [e.item for e in fourth] == [3, 4]
    assert str(second) == "1 users and 0 items, expected one user and at least one item"
    assert str(third) == "0 users and 2 items, expected one user and at least one item"
    arrays = to_arrays([first, second, third, fourth], [1, 0])
    assert arrays["written"].tolist() == [[1], [-1], [-1], [0]]
    assert [note[0].decode()[:6] for note in arrays["note"]] == ["", "row 1:", "row 2:", ""]


def test_rows_that_the_store_would_not_take_are_refused_one_by_one() -> None:
    rows = check_rows(
        [[Event("a", "b", 1)], [Event("a", "x" * 2_000)], [Event("a", "b", -3)]], IdTypes(user=str, item=str)
    )
    assert rows[0] == [Event("a", "b", 1)]
    assert "text of 2,000 characters" in str(rows[1]) and "time is -3" in str(rows[2])


def test_the_first_event_decides_the_types_of_a_new_store() -> None:
    rows = check_rows([RequestError("bad"), [Event("a", 1)], [Event(2, 1)], [Event("b", 2)]], None)
    assert [isinstance(row, list) for row in rows] == [False, True, False, True]


def test_a_request_of_bad_rows_only_is_an_error() -> None:
    with pytest.raises(RequestError, match="^item holds 1$"):
        to_arrays([ValueError("item holds 1")], [])
    with pytest.raises(RequestError, match=r"^row 0: a b \(and 1 more rows are refused\)$"):
        to_arrays([ValueError("a\nb"), ValueError("c")], [])


@pytest.mark.parametrize(("users", "items"), [(None, _ids([1])), (_ids([1]), None), (_ids([1], [2]), _ids([1]))])
def test_inputs_that_do_not_fit_refuse_the_request(users: np.ndarray | None, items: np.ndarray | None) -> None:
    with pytest.raises(RequestError, match="needs user_id and item_ids|different numbers of rows"):
        read_rows(_arrays(users, items), False)


class _Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> np.ndarray:
        return self.values


class _Error(SimpleNamespace):
    UNAVAILABLE, INVALID_ARG = "unavailable", "invalid"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message=message, code=code)


UTILS = SimpleNamespace(
    Tensor=_Tensor,
    TritonError=_Error,
    InferenceResponse=lambda tensors=(), error=None: error or {t.name: t.values.tolist() for t in tensors},
    get_input_tensor_by_name=lambda request, name: request.get(name),
    Logger=SimpleNamespace(log_error=lambda text: None),
)
"""The module that Triton gives to its backends, which exists in its processes only."""


def _model(store: SqliteStore) -> TritonPythonModel:
    model = TritonPythonModel()
    model._utils, model._store, model._below_zero = UTILS, store, False
    return model


def _request(*rows: tuple[int, int]) -> dict[str, _Tensor]:
    users, items = (np.array(column, np.int64)[:, None] for column in zip(*rows, strict=True))
    return {"user_id": _Tensor("user_id", users), "item_ids": _Tensor("item_ids", items)}


def test_the_requests_of_a_batch_are_one_transaction_and_a_bad_one_harms_no_other(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "h.db", create=True)
    store.check()
    store.append([Event(1, 10)])
    assert store._connection is not None
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    without = {"user_id": _request((1, 1))["user_id"]}
    found = _model(store).execute([_request((1, 11), (-1, 5)), without, _request((2, 20)), _request((1, 10))])
    assert statements.count("COMMIT") == 1
    assert found[0]["written"] == [[1], [-1]] and found[0]["note"][1][0].startswith(b"row 1: 0 users")
    assert found[1] == _Error("an event needs user_id and item_ids", "invalid")
    assert (found[2]["written"], found[3]["written"]) == ([[1]], [[1]])
    assert store.histories([1, 2]) == [(11, 10), (20,)]


def test_a_store_that_is_down_is_told_to_the_requests_that_need_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "h.db", create=True)
    store.check()
    (tmp_path / "h.db").rename(tmp_path / "away.db")
    without = {"user_id": _request((1, 1))["user_id"]}
    down, bad = _model(store).execute([_request((1, 11)), without])
    assert down == _Error("the store of histories does not answer", "unavailable")
    assert bad.code == "invalid"
