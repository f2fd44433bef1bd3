"""The table of `serving infer` has the ids of the data set."""

from __future__ import annotations

import numpy as np
import pytest

from serving.infer.answers import format_tables
from serving.infer.processes import Report


@pytest.mark.parametrize(
    ("users", "items", "row"),
    [
        (None, [1234567, 6_000_000_123], ["77", "0", "6000000123", "1234567"]),
        ([7_000_000_001], [1234567, 6_000_000_123], ["77", "7000000001", "6000000123", "1234567"]),
        (["007"], ["1e5", "12e9"], ["77", "007", "12e9", "1e5"]),
    ],
)
def test_ids_are_whole(users: list[int] | None, items: list[int], row: list[str]) -> None:
    report = Report(process=77, predicted=np.array([0], np.int32), seconds=np.array([0.001]))
    text = format_tables([report], users, items, {"items": np.array([[1]], np.int32)}, verbose=True)
    lines = text.splitlines()
    assert lines[2].split() == row
    assert lines[0].split()[:2] == ["process", "request" if users is None else "user"]


def test_a_prediction_that_is_no_item_is_shown() -> None:
    report = Report(process=77, predicted=np.array([-1], np.int32), seconds=np.array([0.001]))
    text = format_tables([report], None, [5], {"items": np.array([[0]], np.int32)}, verbose=True)
    assert "none (-1)" in text
