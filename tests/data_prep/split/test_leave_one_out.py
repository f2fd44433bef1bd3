"""Leave-one-out: every rating counts by default, and other kinds of values; the cap and chance together."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from data_prep.split import leave_one_out
from data_prep.split.filters import filtered
from data_prep.split.rules import SplitRules
from tests.data_prep.lists import lists_of

from .small import events, in_blocks, parts

LOO = ("--protocol", "leave-one-out", "--negatives", "1", "--min-user-items", "1")
Row = tuple[int, int, str, int]
"""User, item, value as it is written, time."""


def write(path: Path, rows: list[Row], value: str) -> Path:
    path.write_text(f"user,item,{value},time\n" + "".join(f"{u},{i},{v},{t}\n" for u, i, v, t in rows))
    return path


def test_ratings_of_zero_count(prepare: Any, tmp_path: Path) -> None:
    """Ratings from 0 to 5, and from -10 to 10: each is an interaction, and the latest ones are held out."""
    for low, high in ((0.0, 5.0), (-10.0, 10.0)):
        rows = [(u, i, f"{low if (u + i) % 2 else high}", i) for u in range(6) for i in range(5)]
        rows += [(9, i, "1.0", 0) for i in range(20, 25)]
        data = prepare("table", "--raw", write(tmp_path / "r.csv", rows, "rating"), *LOO, "--overwrite")
        train, valid, test = lists_of(data).split()
        assert all(train[u] == {0, 1, 2} and (valid[u], test[u]) == (3, 4) for u in range(6))
        assert data.manifest["counts"]["events"] == 35
        assert "rows_below_threshold" not in data.manifest["counts"]
        assert data.manifest["warnings"] == []


def test_what_a_threshold_drops_is_said(prepare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(u, i, f"{i % 3}.0", i) for u in range(6) for i in range(12)] + [(9, 99, "5.0", 0)]
    data = prepare("table", "--raw", write(tmp_path / "r.csv", rows, "rating"), *LOO, "--threshold", "0")
    note = "24 rows are at or below the threshold 0 and are no interactions"
    assert note in data.manifest["warnings"]
    assert f"note: {note}" in capsys.readouterr().out
    assert data.manifest["counts"]["rows_below_threshold"] == 24
    assert lists_of(data).split()[0][0] == {1, 2, 4, 5, 7, 8}


def naive(rows: list[Row], kind: str) -> dict[int, list[int]]:
    """The items of each user in order of time, by a loop over pairs; of counts and weights above 2."""
    of_pair: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    for place, (user, item, value, time) in enumerate(rows):
        of_pair[user, item].append((time, place, value))
    found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    weight = {"view": 1.0, "buy": 2.5}
    for (user, item), own in of_pair.items():
        own.sort()
        if kind == "boolean":
            high = [row for row in own if row[2] == "true"]
            stays = own[-1][2] == "true"
        elif kind == "positive event":
            high = [row for row in own if row[2] == "buy"]
            stays = bool(high)
        elif kind == "event":
            high = [row for row in own if row[2] in weight]
            stays = sum(weight[value] for *_, value in high) > 2
        else:
            high, stays = own, sum(float(value) for *_, value in own) > 2
        if stays:
            found[user].append((*high[0][:2], item))
    return {user: [item for *_, item in sorted(own)] for user, own in found.items()}


KINDS: dict[str, tuple[str, list[str], list[str]]] = {
    "boolean": ("liked", ["true", "false"], []),
    "count": ("plays", ["0", "1", "2"], ["--threshold", "2"]),
    "event": ("event", ["view", "buy", "share"], ["--event-weights", "view=1,buy=2.5", "--threshold", "2"]),
    "positive event": ("event", ["view", "buy", "share"], ["--positive-events", "buy"]),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_values(kind: str, seed: int, prepare: Any, tmp_path: Path) -> None:
    column, values, words = KINDS[kind]
    rng = random.Random(seed)
    rows = [(rng.randint(1, 12), rng.randint(1, 15), rng.choice(values), rng.randint(0, 30)) for _ in range(500)]
    data = prepare("table", "--raw", write(tmp_path / "r.csv", rows, column), *LOO, *words)
    train, valid, test = lists_of(data).split()
    expected = naive(rows, kind)
    assert set(train) == set(expected)
    for user, items in expected.items():
        held_out = items[max(1, len(items) - 2) :]
        assert train[user] == set(items) - set(held_out)
        assert [d[user] for d in (valid, test) if user in d] == held_out
    counts = data.manifest["counts"]
    rows_that_count = [row for row in rows if row[2] != ("share" if kind == "event" else "")]
    if kind == "positive event":
        rows_that_count = [row for row in rows if row[2] == "buy"]
    assert counts.get("rows_of_other_events", 0) == len(rows) - len(rows_that_count)
    assert counts["events"] == sum(map(len, expected.values()))
    if kind in ("count", "event"):
        of_pair = Counter((u, i) for u, i, *_ in rows_that_count)
        positive = {(u, i) for u, items in expected.items() for i in items}
        assert counts.get("rows_below_threshold", 0) == sum(n for pair, n in of_pair.items() if pair not in positive)
        assert counts["duplicates_dropped"] == sum(of_pair[pair] - 1 for pair in positive)


@pytest.mark.parametrize("users", [0, 3])
def test_a_cap_and_minimum_counts_without_times(users: int) -> None:
    """Failed before: the random numbers of all interactions met the interactions that a cap leaves."""
    rng = random.Random(1)
    rows = [(rng.randint(0, 9), rng.randint(0, 30), 0) for _ in range(300)]
    rules = SplitRules(protocol="leave-one-out", max_user_items=6, min_item_users=2, min_user_items=3, negatives=2)
    splits = []
    for own in (rows, rows[::-1]):
        kept = filtered(in_blocks(events(own, with_times=False), users), rules)
        splits.append(parts(leave_one_out.split(kept, rules)))
    assert splits[0] == splits[1]
    lengths = Counter(u for u, _ in splits[0]["train"])
    held_out = Counter(u for name in ("valid", "test") for u, _ in splits[0][f"{name}.fold_out"])
    assert all(held_out[u] == 2 and 3 <= n + 2 <= 6 for u, n in lengths.items())


def test_chance_is_that_of_all_interactions() -> None:
    """Filters do not change what chance holds out of the users whose items all stay: numbers are drawn for all."""
    rows = [(u, i, 0) for u in range(20) for i in range(8)] + [(u, 100 + u, 0) for u in range(3)]
    rows += [(50, 1, 0), (60, 200, 0), (60, 201, 0), (61, 200, 0), (61, 201, 0)]
    rules = SplitRules(protocol="leave-one-out", min_user_items=1, negatives=1)
    fewer = SplitRules(protocol="leave-one-out", min_user_items=2, min_item_users=2, negatives=1)
    one, two = (parts(leave_one_out.split(filtered(events(rows, with_times=False), r), r)) for r in (rules, fewer))
    for name in ("valid.fold_out", "test.fold_out"):
        assert {(u, i) for u, i in one[name] if 3 <= u < 20} == {(u, i) for u, i in two[name] if 3 <= u < 20}
