"""Rows of events to events of a store and counts to tensors, without a server."""

from __future__ import annotations

import numpy as np
import pytest

from serving.histories.events import Event
from serving.ids import IdTypes
from serving.recommend.requests import RequestError
from serving.triton.events_backend import check_rows, read_rows, to_arrays


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
