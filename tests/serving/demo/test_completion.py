"""Completion of titles, and the parameters of the API."""

from __future__ import annotations

import numpy as np
import pytest

from serving.demo.completion import Completion, folded
from serving.demo.parameters import BadRequest, Parameters

NAMES = (
    "Toy Story (1995)", "Story of Toys", "Shawshank Redemption, The (1994)",
    "Amélie (Fabuleux destin d'Amélie Poulain, Le)",
    "Toy Soldiers", "Prehistoric Toyland", "318",
)  # fmt: skip
IDS = ("1", "2", "3", "4", "5", "6", "318")
COUNTS = np.array([10, 50, 30, 20, 40, 60, 1])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("toy", [4, 0, 5, 1]),  # beginnings of titles (most users first), then of words
        ("STORY", [1, 0]),
        ("the shaw", [2]),
        ("redemption shawshank", [2]),
        ("amelie", [3]),
        ("d'am", [3]),
        ("hawsh", [2]),  # within a word
        ("3", [2]),  # an id comes first
        ("318", [6]),
        ("  ", []),
        ("!?", []),
        ("no such film", []),
        ("\n", []),
    ],
)
def test_completion(typed: str, expected: list[int]) -> None:
    found = Completion(NAMES, IDS, COUNTS)(typed, 4)
    assert found[: len(expected)] == expected and (expected or not found)


def test_no_more_than_wanted_and_each_once() -> None:
    found = Completion(["aa a"] * 50, [str(k) for k in range(50)], np.zeros(50))("a", 10)
    assert found == list(range(10))
    assert folded("  Ünïcode—Title,\n the ") == "unicode title the"


@pytest.mark.parametrize(
    ("pairs", "ask", "message"),
    [
        ([("kk", "1")], lambda p: None, "unknown parameter 'kk', expected: k, item, share"),
        ([("k", "0")], lambda p: p.whole("k", 1, 100), "k is '0', expected a whole number from 1 to 100"),
        ([("k", "1e2")], lambda p: p.whole("k", 1, 100), "k is '1e2', expected"),
        ([("k", "²")], lambda p: p.whole("k", 1, 100), "expected a whole number"),
        ([("k", "9" * 5000)], lambda p: p.whole("k", 1, 100), "k has 5,000 characters, expected at most 1,000"),
        ([("k", "1"), ("k", "2")], lambda p: p.whole("k", 1, 100), "k is given 2 times, expected once"),
        ([], lambda p: p.whole("k", 1, 100), "k is given 0 times, expected once"),
        ([("share", "nan")], lambda p: p.share("share"), "share is 'nan', expected a number from 0 to 1"),
        ([("share", "1.01")], lambda p: p.share("share"), "expected a number from 0 to 1"),
        ([("item", str(n)) for n in range(201)], lambda p: p.ids("item"), "item is given 201 times, expected at most"),
        ([("item", "")], lambda p: p.ids("item"), "item has 0 characters, expected 1 to 1,000"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_an_error_of_one_line(pairs: list, ask: object, message: str) -> None:
    assert callable(ask)
    with pytest.raises(BadRequest) as error:
        ask(Parameters.read(pairs, ("k", "item", "share")))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_good_parameters() -> None:
    given = Parameters.read([("k", "7"), ("item", "a"), ("item", "b"), ("item", "a")], ("k", "item", "share"))
    assert given.whole("k", 1, 10) == 7 and given.ids("item") == ["a", "b"] and given.share("share") == 0.0
