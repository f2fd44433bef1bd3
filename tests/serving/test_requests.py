"""What a request may hold, and how flags are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.export_folder import IdTypes
from serving.recommend.requests import MAX_ID, MAX_IDS, RequestError, check_request, parse_ids, parse_user

TOP_K = 100


@pytest.mark.parametrize("number", [2**63, 10**400, 10**5000], ids=["2**63", "400 digits", "5000 digits"])
@pytest.mark.parametrize("place", ["user_id", "item_ids", "k", "deny", "allow"])
def test_numbers_beyond_all_size_are_refused_in_one_line(place: str, number: int) -> None:
    words: dict[str, Any] = {place: number if place in ("user_id", "k") else [1, number]}
    with pytest.raises(RequestError) as refused:
        check_request(**words, top_k=TOP_K)
    assert len(str(refused.value)) < 200


def test_limits_are_taken_and_one_beyond_is_not() -> None:
    request = check_request(user_id=MAX_ID, item_ids=range(MAX_IDS), k=TOP_K, allow=[], top_k=TOP_K)
    assert (request.user_id, len(request.item_ids), request.k, request.allow) == (2**63 - 1, 10_000, 100, frozenset())
    for wrong in ({"k": 101}, {"k": 0}, {"k": True}, {"k": 3.0}, {"k": "3"}, {"k": None}, {"item_ids": "12"}):
        with pytest.raises(RequestError):
            check_request(**wrong, top_k=TOP_K)  # type: ignore[arg-type]


def test_a_million_ids_are_refused_by_their_number() -> None:
    with pytest.raises(RequestError, match=r"items holds 1,000,000 ids, at most 10,000 are taken"):
        check_request(item_ids=np.arange(1_000_000), top_k=TOP_K)


def test_an_item_named_twice_counts_once() -> None:
    assert check_request(item_ids=[7, 3, np.int32(7), 3], top_k=TOP_K).item_ids == (7, 3)


def test_numbers_are_read_from_a_flag() -> None:
    assert parse_ids(" 1, 2,,3 ,", "--items") == [1, 2, 3]
    assert parse_ids("", "--items") == parse_ids(" , ", "--items") == []
    assert parse_ids("-4", "--items") == [-4]
    for text in ("1;2", "one", "1.5", "1e3", "0x10", "NaN", "9" * 5000, "1 2", "\0"):
        with pytest.raises(RequestError, match="--items is .* expected whole numbers separated by commas"):
            parse_ids(text, "--items")


def test_text_ids_are_read_and_checked() -> None:
    texts = IdTypes(user=str, item=str)
    assert parse_ids(" sku-1, 007 ,,1e5", "--items", str) == ["sku-1", "007", "1e5"]
    assert parse_user(" ann@example.org ", str) == "ann@example.org"
    assert parse_user("o'hara, esq.", str) == "o'hara, esq."
    assert parse_user(" -7 ") == -7
    for text in ("abc", "1,2", "1.5"):
        with pytest.raises(RequestError, match=f"--user is '{text}', expected one whole number, as the ids of the"):
            parse_user(text)
    with pytest.raises(RequestError, match="--user is ' ', expected one user"):
        parse_user(" ")
    request = check_request(user_id="ann, bob", item_ids=["b", "a", "b"], deny=["007"], top_k=TOP_K, id_types=texts)
    assert (request.user_id, request.item_ids, request.deny) == ("ann, bob", ("b", "a"), {"007"})
    for wrong, why in (
        ({"user_id": 5}, "user holds '5', expected text"),
        ({"item_ids": [7]}, "items holds '7', expected text"),
        ({"item_ids": ["x" * 1_001]}, "an id of 1,001 characters, expected 1 to 1,000"),
        ({"allow": [""]}, "an id of 0 characters"),
    ):
        with pytest.raises(RequestError, match=why):
            check_request(**wrong, top_k=TOP_K, id_types=texts)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="items holds 'a', expected whole numbers"):
        check_request(item_ids=["a"], top_k=TOP_K, id_types=IdTypes(user=str, item=int))


def test_ids_below_zero_are_taken_where_the_data_set_has_some() -> None:
    below = IdTypes(below_zero=True)
    request = check_request(user_id=-(2**63) + 1, item_ids=[-1, 2**63 - 1], top_k=TOP_K, id_types=below)
    assert (request.user_id, request.item_ids) == (-9223372036854775807, (-1, 9223372036854775807))
    with pytest.raises(RequestError, match=r"items holds -9223372036854775808, expected -9223372036854775807 to 922"):
        check_request(item_ids=[-(2**63)], top_k=TOP_K, id_types=below)  # it means "none"
    with pytest.raises(RequestError, match="items holds -1, expected 0 to 9223372036854775807"):
        check_request(item_ids=[-1], top_k=TOP_K)


def test_the_client_refuses_a_user_that_is_none(python: Any) -> None:
    done = python("serving", "client", "--url", "127.0.0.1:9", "--retries", "0", "--user", ",")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
