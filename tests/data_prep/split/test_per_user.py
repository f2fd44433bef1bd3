"""A share of every user's interactions: by hand, the latest ones, and by chance whatever the order of the source."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from data_prep.split import per_user
from data_prep.split.filters import filtered
from data_prep.split.rules import SplitRules

from .small import Row, events, in_blocks, parts

RULES = SplitRules(protocol="per-user", min_user_items=1, held_out_share=0.25, validation_share=0.2)
LATEST = SplitRules(protocol="per-user", min_user_items=1, held_out_share=0.25, validation_share=0.2, choice="latest")


def test_the_latest_typed_by_hand() -> None:
    """Of 10 interactions 2 are for the test and 2 for validation; of 4 one for the test, of 5 one for each; of 3 none.

    The last three of user 2 have one time: the later rows of the source are later. User 4's rows are not in order.
    Users 5 and 6 have the items that are held out of the others, so that these are in training.
    """
    rows: list[Row] = [(1, 100 - k, k) for k in range(10)]
    rows += [(2, 3, 5), (2, 1, 9), (2, 9, 9), (2, 4, 9)]
    rows += [(3, 1, 1), (3, 2, 2), (3, 3, 3)]
    rows += [(4, 5, 50), (4, 1, 10), (4, 4, 40), (4, 3, 30), (4, 2, 20)]
    rows += [(5, 91, 1), (5, 92, 1), (5, 93, 1), (6, 94, 1), (6, 4, 1), (6, 5, 1)]
    found = parts(per_user.split(filtered(events(rows), LATEST), LATEST))
    assert found["test.fold_out"] == {(1, 91), (1, 92), (2, 4), (4, 5)}
    assert found["valid.fold_out"] == {(1, 93), (1, 94), (4, 4)}
    every = {(u, i) for u, i, _ in rows}
    assert found["train"] == every - found["test.fold_out"] - found["valid.fold_out"]
    assert found["valid.fold_in"] == {(u, i) for u, i in found["train"] if u in (1, 4)}
    assert found["test.fold_in"] == {(u, i) for u, i in found["train"] | found["valid.fold_out"] if u in (1, 2, 4)}


@pytest.mark.parametrize(("n", "test", "valid"), [(1, 0, 0), (2, 1, 0), (3, 2, 0), (10, 9, 0)])
def test_one_stays_for_training(n: int, test: int, valid: int) -> None:
    block = events([(1, i, i) for i in range(n)]).block
    assert per_user.roles(block, None, 0.9, 0.5).tolist() == [0] * (n - test - valid) + [1] * valid + [2] * test


def test_shares_are_not_one_less_by_rounding() -> None:
    """0.29 * 100 is 28.999999999999996 in floating point."""
    block = events([(1, i, i) for i in range(100)]).block
    found = per_user.roles(block, None, 0.29, 0.07)
    assert [int((found == role).sum()) for role in (0, 1, 2)] == [64, 7, 29]


def _random_rows(seed: int) -> list[Row]:
    rng = random.Random(seed)
    pairs = {(rng.randint(1, 20), rng.randint(1, 30)) for _ in range(300)}
    pairs |= {(100 + i, i) for i in range(1, 31)}  # one item each: it is in training
    rows = [(u, i, rng.randint(0, 9)) for u, i in sorted(pairs)]
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_every_user(seed: int) -> None:
    rows = _random_rows(seed)
    for rules in (RULES, LATEST):
        found = parts(per_user.split(filtered(in_blocks(events(rows), seed % 3), rules), rules))
        for user in {u for u, *_ in rows}:
            n = sum(u == user for u, *_ in rows)
            sizes = [sum(u == user for u, _ in found[name]) for name in ("train", "valid.fold_out", "test.fold_out")]
            assert sizes == [n - int(n / 4) - int(n / 5), int(n / 5), int(n / 4)]
        if rules is LATEST:
            time = {(u, i): t for u, i, t in rows}
            for user in {u for u, _ in found["test.fold_out"]}:
                first = min(time[p] for p in found["test.fold_out"] if p[0] == user)
                assert max(time[p] for p in found["test.fold_in"] if p[0] == user) <= first


def test_chance_does_not_depend_on_the_order_of_the_source_or_on_times() -> None:
    rows = _random_rows(7)
    splits = [
        parts(per_user.split(filtered(in_blocks(events(own, with_times=with_times), users), RULES), RULES))
        for own in (rows, sorted(rows), rows[::-1]) for with_times in (False, True) for users in (0, 3)
    ]  # fmt: skip
    assert all(one == splits[0] for one in splits[1:])
    other = SplitRules(protocol="per-user", min_user_items=1, held_out_share=0.25, validation_share=0.2, seed=1)
    assert parts(per_user.split(filtered(events(rows), other), other)) != splits[0]


def test_chance_is_fair() -> None:
    """Each of 12 items of 2000 users is held out about equally often: 3 of 12, a standard deviation of 19."""
    rows = [(u, i, 0) for u in range(2000) for i in range(12)]
    found = parts(per_user.split(filtered(events(rows, with_times=False), RULES), RULES))
    counts = np.bincount([i for _, i in found["test.fold_out"]], minlength=12)
    assert np.all(np.abs(counts - 500) < 5 * 19.4)


def test_latest_without_times() -> None:
    with pytest.raises(ValueError, match="--choice latest needs a column of times; name it with --time-column, or"):
        per_user.split(filtered(events([(1, 1, 0), (1, 2, 0)], with_times=False), LATEST), LATEST)


@pytest.mark.parametrize(("n", "message"), [(3, "the validation set"), (4, "the validation set")])
def test_nobody_has_enough(n: int, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message} would be empty: no user has enough items; raise --validation-sh"):
        per_user.split(filtered(events([(u, i, 0) for u in range(5) for i in range(n)]), RULES), RULES)


def test_the_command(prepare: Any, tmp_path: Any) -> None:
    lines = [f"{u},{i},{i}" for u in range(10) for i in range(10)] + [f"{20 + i},{i},0" for i in range(9)]
    (tmp_path / "r.csv").write_text("user,item,time\n" + "\n".join(lines) + "\n")
    data = prepare("table", "--raw", tmp_path / "r.csv", "--protocol", "per-user", "--choice", "latest",
                   "--min-user-items", "1")  # fmt: skip
    items = data.items["item_id"].to_numpy()
    assert sorted(set(items[np.load(data.folder / "test.fold_out.indices.npy")])) == [8]  # a fifth: 8 and 9
    assert set(items[np.load(data.folder / "valid.fold_out.indices.npy")]) == {7}  # a tenth
    assert data.manifest["parameters"]["choice"] == "latest"
    assert data.manifest["warnings"] == [
        "test: 1 items are new (they have no training interaction); 10 interactions of theirs are left out"
    ]
