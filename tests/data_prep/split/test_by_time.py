"""Split by time: the borders, who is new, and that nothing of the training is later than anything that is held out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.encode.events import Block
from data_prep.split import by_time
from data_prep.split.filters import filtered
from data_prep.split.rules import SplitRules

from .small import Row, events, in_blocks, parts

KEEP_ALL = {"protocol": "time", "min_user_items": 1}
# Days 1 to 10. With validation from 6 and the test from 8: user 1 and 2 are trained; user 3 is new in validation and in
# the test, user 4 in the test; item 60 is new in validation, 70 in the test.
ROWS: list[Row] = [
    (1, 10, 1), (1, 20, 2), (2, 10, 3), (2, 30, 5), (1, 40, 5),
    (1, 30, 6), (2, 60, 6), (3, 10, 7), (2, 20, 7),
    (2, 40, 8), (1, 60, 8), (3, 20, 9), (4, 10, 9), (1, 70, 10),
]  # fmt: skip


def test_by_moments_typed_by_hand() -> None:
    split = by_time.split(filtered(events(ROWS), SplitRules(**KEEP_ALL)), SplitRules(**KEEP_ALL), 6, 8)
    found = parts(split)
    assert found["train"] == {(1, 10), (1, 20), (1, 40), (2, 10), (2, 30)}
    assert found["valid.fold_out"] == {(1, 30), (2, 20)}
    assert found["valid.fold_in"] == found["train"]
    assert found["test.fold_out"] == {(2, 40)}
    assert found["test.fold_in"] == {(2, 10), (2, 30), (2, 20)}
    assert split.item_ids.to_pylist() == [10, 20, 30, 40]
    new = {name: count for name, count in split.counts.items() if "new" in name}
    assert new == {
        "new_users_in_validation": 1, "new_items_in_validation": 1, "events_of_new_users_or_items_in_validation": 2,
        "new_users_in_test": 2, "new_items_in_test": 2, "events_of_new_users_or_items_in_test": 4,
    }  # fmt: skip
    assert split.notes == (
        "validation: 1 users and 1 items are new (they have no training interaction); 2 interactions of theirs are "
        "left out",
        "test: 2 users and 2 items are new (they have no training interaction); 4 interactions of theirs are left out",
    )
    assert split.details["times"] == {"first": 1, "validation_from": 6, "test_from": 8, "last": 10}


@pytest.mark.parametrize(
    ("held_out", "validation", "borders"),
    [
        (0.2, 0.3, (8, 10)),  # 2 of 14 for the test: 3 are from day 9 on, 1 from day 10; 1 + 4 from day 8
        (0.25, 0.15, (8, 9)),  # 3 for the test; 3 + 2 from day 8
        (0.1, 0.6, (6, 10)),  # 1 for the test; of 1 + 8 all from day 6 on, 11 are from day 5
    ],
)
def test_by_shares_typed_by_hand(held_out: float, validation: float, borders: tuple[int, int]) -> None:
    rules = SplitRules(**KEEP_ALL, held_out_share=held_out, validation_share=validation)
    found = by_time.moments(filtered(events(ROWS), rules), rules, None, None)
    assert (found.validation_from, found.test_from) == borders


def naive_moment(times: list[float], share: float) -> float | None:
    """The earliest of the times from which at most that share is, looking at each."""
    wanted = int(share * len(times) + 1e-6)
    return min((t for t in times if sum(o >= t for o in times) <= wanted), default=None)


SHARES = st.sampled_from([0.0, 0.1, 0.29, 0.5, 0.9])
WHOLE = st.one_of(
    st.lists(st.integers(-4, 4), min_size=1, max_size=60),
    st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=60),
    st.lists(st.sampled_from([0, 2**40, 2**40 + 1, -(2**62)]), min_size=1, max_size=60),
)
FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60)


def _blocks(times: np.ndarray, cuts: list[int]) -> Iterator[Block]:
    """The times in blocks, some of them empty, those that fit into 32 bits so."""
    for part in np.split(times, sorted(cut % (len(times) + 1) for cut in cuts)):
        if part.dtype.kind == "i" and (not len(part) or np.abs(part).max() < 2**31):
            part = part.astype(np.int32)
        yield Block(first=0, indptr=np.array([0, len(part)]), items=np.zeros(len(part), np.int32), times=part)


@settings(max_examples=150, deadline=None)
@given(st.one_of(WHOLE, FLOATS), st.lists(st.integers(0, 60), max_size=3), SHARES, st.sampled_from([2, 3, 16, 1 << 16]))
@example([0.0, -0.0, 1.0, -0.0], [], 0.5, 2)
@example([1.5], [0, 0], 0.1, 2)
def test_the_moment_of_a_share(times: list[float], cuts: list[int], share: float, bins: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_time, "BINS", bins)
        array = np.array(times)
        found = by_time.moment_of_share(lambda: _blocks(array, cuts), share)
    expected = naive_moment(times, share)
    assert found > max(times) if expected is None else found == expected


def test_millions_of_equal_times() -> None:
    times = np.repeat(np.array([7, 9, 1_600_000_000], np.int32), [2_000_000, 900_000, 100_000])
    for share, moment in ((0.1, 1_600_000_000), (0.33, 1_600_000_000), (0.34, 9), (0.03, 1_600_000_001)):
        assert by_time.moment_of_share(lambda: _blocks(times, [1_500_000]), share) == moment


@pytest.mark.parametrize("count", [10, 100, 1000, 10**6])
def test_a_share_is_not_one_less_by_rounding(count: int) -> None:
    """0.29 * 100 is 28.999999999999996 in floating point."""
    times = np.arange(count)
    for percent in (7, 14, 28, 29, 57, 58):
        expected = count - percent * count // 100
        assert by_time.moment_of_share(lambda: _blocks(times, []), percent / 100) == expected


def naive(rows: list[Row], validation_from: float, test_from: float) -> dict[str, Any]:
    """The split, one row at a time."""
    earliest: dict[tuple[int, int], float] = {}
    for user, item, time in rows:
        earliest[user, item] = min(time, earliest.get((user, item), np.inf))
    of: dict[str, set[tuple[int, int]]] = {"train": set(), "validation": set(), "test": set()}
    for pair, time in earliest.items():
        of["test" if time >= test_from else "validation" if time >= validation_from else "train"].add(pair)
    users, items = {u for u, _ in of["train"]}, {i for _, i in of["train"]}
    result: dict[str, Any] = {"train": of["train"]}
    for name in ("validation", "test"):
        result[name] = {(u, i) for u, i in of[name] if u in users and i in items}
        counts = {
            f"new_users_in_{name}": len({u for u, _ in of[name]} - users),
            f"new_items_in_{name}": len({i for _, i in of[name]} - items),
            f"events_of_new_users_or_items_in_{name}": len(of[name]) - len(result[name]),
        }
        result |= {n: c for n, c in counts.items() if c}
    return result


@pytest.mark.parametrize("seed", range(15))
def test_agrees_with_a_naive_loop(seed: int) -> None:
    rng = random.Random(seed)
    scale = rng.choice([1, 0.25, 10**12])
    rows = [(rng.randint(1, 15), rng.randint(1, 20), rng.randint(-20, 60) * scale) for _ in range(300)]
    rules = SplitRules(**KEEP_ALL, held_out_share=rng.choice([0.1, 0.3]), validation_share=rng.choice([0.1, 0.2]))
    split = by_time.split(filtered(in_blocks(events(rows), rng.choice([0, 1, 4])), rules), rules)
    borders = split.details["times"]
    found, expected = parts(split), naive(rows, borders["validation_from"], borders["test_from"])
    assert found["train"] == expected["train"]
    assert found["valid.fold_out"] == expected["validation"]
    assert found["test.fold_out"] == expected["test"]
    assert {n: c for n, c in split.counts.items() if "new" in n} == {n: c for n, c in expected.items() if "new" in n}
    times: dict[tuple[int, int], float] = {}
    for user, item, time in rows:
        times[user, item] = min(time, times.get((user, item), np.inf))
    latest_training = max(times[pair] for pair in found["train"])
    validation = [times[pair] for pair in found["valid.fold_out"]]
    test = [times[pair] for pair in found["test.fold_out"]]
    assert latest_training < min(validation) <= max(validation) < min(test)
    assert (borders["first"], borders["last"]) == (min(times.values()), max(times.values()))
    known = {u for u, _ in found["test.fold_out"]}
    before = found["train"] | found["valid.fold_out"]
    assert found["test.fold_in"] == {(u, i) for u, i in before if u in known}


def test_no_times(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item\n" + "".join(f"{u},{i}\n" for u in range(9) for i in range(9)))
    message = refuse("table", "--raw", tmp_path / "r.csv", "--protocol", "time")
    assert "--protocol time needs a column of times; name it with --time-column" in message


def _file(path: Path, written: Any) -> Path:
    """Nine users and nine items; a row for each pair, one on each of the 81 first days of 2024."""
    days = [np.datetime64("2024-01-01") + k for k in range(81)]
    lines = [f"{k % 9},{(k // 9 + k) % 9},{written(day)}" for k, day in enumerate(days)]
    path.write_text("user,item,time\n" + "\n".join(lines) + "\n")
    return path


FORMS = {
    "seconds": lambda day: int(day.astype("datetime64[s]").astype(int)),
    "milliseconds": lambda day: int(day.astype("datetime64[ms]").astype(int)),
    "fractions": lambda day: f"{int(day.astype('datetime64[s]').astype(int))}.25",
    "ISO": lambda day: f"{day}T00:00:00Z",
    "ISO with a zone": lambda day: f"{day}T02:00:00+02:00",
    "dates": str,
}


@pytest.mark.parametrize("form", FORMS)
def test_moments_in_every_form_of_times(form: str, prepare: Any, tmp_path: Path) -> None:
    """28 January is the 28th day; after the noon of 6 February come the days from the 38th to the 81st."""
    raw = _file(tmp_path / "r.csv", FORMS[form])
    words = ["table", "--raw", raw, "--protocol", "time"]
    data = prepare(*words, "--validation-from", "2024-01-28", "--test-from", "2024-02-06T12:00:00Z")
    counts = [len(np.load(data.folder / f"{n}.indices.npy")) for n in ("train", "valid.fold_out", "test.fold_out")]
    assert counts == [27, 10, 44]


def test_t1_after_t2(refuse: Any, tmp_path: Path) -> None:
    raw = _file(tmp_path / "r.csv", FORMS["ISO"])
    words = ["table", "--raw", raw, "--protocol", "time", "--validation-from", "2024-03-01", "--test-from"]
    for later in ("2024-02-01", "2024-03-01"):
        message = refuse(*words, later)
        assert message == (
            f"error: validation would be from 2024-03-01T00:00:00Z and the test from {later}T00:00:00Z, expected "
            "validation to begin before the test; give --validation-from and --test-from other moments"
        )


@pytest.mark.parametrize(
    ("first", "second", "empty"),
    [("2023-01-01", "2024-02-01", "training"), ("2024-02-01", "2025-01-01", "test")],
)
def test_a_part_is_empty(first: str, second: str, empty: str, refuse: Any, tmp_path: Path) -> None:
    raw = _file(tmp_path / "r.csv", FORMS["dates"])
    message = refuse("table", "--raw", raw, "--protocol", "time", "--validation-from", first, "--test-from", second)
    assert f"the {empty} set would be empty" in message
    assert "the times are 2024-01-01 to 2024-03-21" in message


def test_all_times_are_equal(refuse: Any, tmp_path: Path) -> None:
    raw = _file(tmp_path / "r.csv", lambda day: 1_700_000_000)
    message = refuse("table", "--raw", raw, "--protocol", "time")
    assert message == (
        "error: all times are 2023-11-14T22:13:20Z, expected different ones; name another column with --time-column"
    )
