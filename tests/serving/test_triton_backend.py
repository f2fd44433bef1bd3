"""Tensors to requests and answers to tensors, without a server."""

from __future__ import annotations

import numpy as np
import pytest

from serving.export_folder import IdTypes
from serving.recommend.recommender import Recommendation
from serving.recommend.requests import RequestError
from serving.triton.backend import read_requests, to_arrays


def _ids(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.int64)


def test_each_row_is_a_request() -> None:
    given = {"user_id": _ids([5], [-1]), "item_ids": _ids([7, -1, 3, 7], [-1] * 4), "k": np.array([[2], [9]], np.int32)}
    given |= {"deny": _ids([1, -1], [4, 1]), "allow": None}
    first, second = read_requests(given, 100)
    assert (first.user_id, first.item_ids, first.k, first.deny, first.allow) == (5, (7, 3), 2, {1}, None)
    assert (second.user_id, second.item_ids, second.k, second.deny) == (None, (), 9, {4, 1})


def test_k_is_ten_unless_the_model_gives_fewer() -> None:
    assert read_requests({"item_ids": _ids([1])}, 100)[0].k == 10
    assert read_requests({"item_ids": _ids([1])}, 4)[0].k == 4


def test_an_allow_list_of_no_ids_is_no_permission_for_all() -> None:
    (request,) = read_requests({"item_ids": _ids([1]), "allow": np.zeros((1, 0), np.int64)}, 100)
    assert request.allow == frozenset()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "rows"),
        ({"user_id": _ids([1]), "item_ids": _ids([1], [2])}, "rows"),
        ({"item_ids": _ids([1, -2])}, "items holds -2"),
        ({"user_id": _ids([-7])}, "user holds -7"),
        ({"item_ids": _ids([1]), "k": np.array([[101]], np.int32)}, "k is '101'"),
        ({"item_ids": _ids([1]), "k": np.array([[0]], np.int32)}, "k is '0'"),
        ({"item_ids": np.ones((1, 1_000_000), np.int64)}, "holds 1,000,000 ids, at most 10,000"),
        ({"item_ids": _ids([1]), "deny": np.ones((1, 10_001), np.int64)}, "deny holds 10,001 ids"),
    ],
)
def test_what_is_wrong_is_refused(given: dict[str, np.ndarray], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        read_requests(given, 100)


def _answer(items: list[int], **words: object) -> Recommendation:
    titles = tuple(f"Müller {i}" for i in items)
    scores = np.linspace(1, 0.5, len(items)).astype(np.float32)
    return Recommendation(source="model", item_ids=np.array(items, np.int64), titles=titles, scores=scores, **words)  # type: ignore[arg-type]


def test_answers_of_different_lengths_are_filled_up() -> None:
    found = to_arrays([_answer([4, 9]), _answer([], note="0 of 5", unknown=(8, 6)), _answer([3])])
    assert found["items"].tolist() == [[4, 9], [-1, -1], [3, -1]]
    assert found["scores"].tolist() == [[1.0, 0.5], [-np.inf, -np.inf], [1.0, -np.inf]]
    assert found["titles"].tolist()[0] == ["Müller 4".encode(), "Müller 9".encode()]
    assert found["titles"].tolist()[2] == ["Müller 3".encode(), b""]
    assert found["source"].tolist() == [[b"model"]] * 3
    assert found["note"].tolist() == [[b""], [b"0 of 5; not known: 8, 6"], [b""]]
    kinds = {name: array.dtype for name, array in found.items()}
    assert kinds == {"items": np.int64, "scores": np.float32, "titles": object, "source": object, "note": object}


def test_an_answer_of_nothing_still_has_a_place() -> None:
    found = to_arrays([_answer([])])
    assert found["items"].tolist() == [[-1]]


def test_a_note_names_ten_unknown_ids_at_most() -> None:
    note = to_arrays([_answer([1], unknown=tuple(range(10_000)))])["note"][0, 0].decode()
    assert len(note) < 80


def test_a_batch_of_no_rows_is_refused_or_answered_with_none() -> None:
    try:
        requests = read_requests({"item_ids": np.zeros((0, 3), np.int64)}, 100)
    except RequestError:
        return
    assert requests == []
    assert len(to_arrays([])["items"]) == 0


def test_padding_where_ids_are_below_zero() -> None:
    below, none = IdTypes(below_zero=True), -(2**63)
    given = {"user_id": _ids([-1], [none]), "item_ids": _ids([-1, -4], [none, -1])}
    first, second = read_requests(given, 100, below)
    assert (first.user_id, first.item_ids) == (-1, (-1, -4))
    assert (second.user_id, second.item_ids) == (None, (-1,))
    found = to_arrays([_answer([-1, 9]), _answer([3])], below)
    assert found["items"].tolist() == [[-1, 9], [3, none]]
    assert np.isneginf(found["scores"]).tolist() == [[False, False], [False, True]]
