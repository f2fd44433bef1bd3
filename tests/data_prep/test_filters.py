"""Filters that drop half of the users or items say so, with the flag and the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Prepared, Row, write_csv

BUSY = [(u, i, 5.0) for u in range(1, 13) for i in range(1, 9)]


def notes(data: Prepared) -> list[str]:
    return [w for w in data.manifest["warnings"] if " keeps " in w]


def few_items(users: int) -> list[Row]:
    """Users with four items each, which nobody else has."""
    return [(100 + u, 1000 + 10 * u + i, 5.0) for u in range(users) for i in range(4)]


@pytest.mark.parametrize("protocol", ["default", "liang2018", "leave-one-out"])
def test_users_with_few_items(protocol: str, prepare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--protocol", protocol, *(["--negatives", "1"] if protocol == "leave-one-out" else [])]
    raw = write_csv(tmp_path / "r.csv", [*BUSY, *[(13, i, 5.0) for i in range(2, 10)], *few_items(13)])
    data = prepare("csv", "--raw", raw, *words)
    expected = [
        "--min-user-items 5 keeps 13 of 26 users: the others have fewer items; to keep more, lower --min-user-items",
        "--min-user-items 5 keeps 9 of 61 items: the others belong to users who were dropped; to keep more, lower "
        "--min-user-items",
    ]
    assert notes(data)[:2] == expected
    assert f"note: {expected[0]}" in capsys.readouterr().out


def test_less_than_half_is_no_note(prepare: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", [*BUSY, *[(99 + u, i, 5.0) for u in range(11) for i in range(4, 8)]])
    assert notes(prepare("csv", "--raw", raw)) == []


def test_rare_items(prepare: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", [*BUSY, *[(u, 100 + u, 5.0) for u in range(1, 13)]])
    assert notes(prepare("csv", "--raw", raw, "--min-item-users", "2")) == [
        "--min-item-users 2 keeps 8 of 20 items: the others have fewer users; to keep more, lower --min-item-users"
    ]


def test_the_threshold(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", [*BUSY, *[(u, 200 + u, 3.5) for u in range(50, 62)]])
    expected = [
        "--threshold 3.5 keeps 12 of 24 users: the others have no rating above it; to keep more, lower --threshold",
        "--threshold 3.5 keeps 8 of 20 items: the others have no rating above it; to keep more, lower --threshold",
    ]
    assert notes(prepare("csv", "--raw", raw)) == expected
    message = refuse("csv", "--raw", raw, "--min-user-items", "9")
    assert f"no user has 9 items (all 12 users filtered away); lower --min-user-items; {expected[0]}" in message


def test_large_ids(prepare: Any, tmp_path: Path) -> None:
    rows = [(u * 10**15, i * 10**15, r) for u, i, r in [*BUSY, *[(u, 200 + u, 3.5) for u in range(50, 70)]]]
    data = prepare("csv", "--raw", write_csv(tmp_path / "r.csv", rows))
    assert "--threshold 3.5 keeps 12 of 32 users" in notes(data)[0]


def test_items_of_held_out_users_only(prepare: Any, tmp_path: Path) -> None:
    own = [(u, 1000 + 10 * u + i, 5.0) for u in range(1, 13) for i in range(9)]
    data = prepare("csv", "--raw", write_csv(tmp_path / "r.csv", own), "--held-out-users", "4")
    assert notes(data) == [
        "--held-out-users keeps 36 of 108 items: the others belong to held-out users only; to keep more, lower "
        "--held-out-users"
    ]
