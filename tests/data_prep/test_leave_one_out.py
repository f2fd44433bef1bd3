"""Leave-one-out: what is held out, by hand and by a naive loop; candidates; where the times come from."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from data_prep.split import candidates
from data_prep.split.matrix import Matrix

from .lists import HELD_OUT, Lists, arrays, lists_of

Event = tuple[int, int, int]
"""User, item, time."""
SplitOf = tuple[dict[int, set[int]], dict[int, int], dict[int, int]]
LOO = ("--protocol", "leave-one-out")
ALL = (*LOO, "--min-user-items", "1")


def write(path: Path, rows: Iterable[tuple[float, ...]], header: str = "userId,movieId,timestamp") -> Path:
    path.write_text(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


# User 7 in file order; its latest is item 30, before that 10. User 8's two last have one time: the later row is later.
# User 9 has item 10 twice (its earliest time counts), user 3 has two items, user 4 has one.
EVENTS: list[Event] = [
    (7, 30, 900), (7, 10, 500), (7, 20, 100), (7, 40, 300),
    (8, 40, 50), (8, 50, 60), (8, 20, 60), (8, 10, 10),
    (9, 10, 999), (9, 20, 20), (9, 10, 1), (9, 30, 30),
    (3, 20, 8), (3, 50, 2),
    (4, 60, 5),
]  # fmt: skip
EXPECTED: SplitOf = (
    {3: {50}, 4: {60}, 7: {20, 40}, 8: {10, 40}, 9: {10}},
    {7: 10, 8: 50, 9: 20},
    {3: 20, 7: 30, 8: 20, 9: 30},
)


def by_hand(rows: list[Event], min_user_items: int, min_item_users: int) -> SplitOf:
    """The same rules, one row at a time."""
    earliest: dict[tuple[int, int], tuple[int, int]] = {}
    for place, (user, item, time) in enumerate(rows):
        if (user, item) not in earliest or time < earliest[user, item][0]:
            earliest[user, item] = (time, place)
    users_of = Counter(item for _, item in earliest)
    histories: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for (user, item), (time, place) in earliest.items():
        if users_of[item] >= min_item_users:
            histories[user].append((time, place, item))
    train: dict[int, set[int]] = {}
    valid, test = {}, {}
    for user, history in histories.items():
        if len(history) >= min_user_items:
            items = [item for _, _, item in sorted(history)]
            if len(items) >= 2:
                test[user] = items.pop()
            if len(items) >= 2:
                valid[user] = items.pop()
            train[user] = set(items)
    return train, valid, test


def random_events(seed: int, users: int = 80, items: int = 40, latest: int = 12) -> list[Event]:
    """1 to 12 rows a user, with repeated pairs and equal times, users mixed."""
    rng = random.Random(seed)
    rows = []
    for user in rng.sample(range(1000), users):
        mine = rng.choices(rng.sample(range(500, 500 + items), 9), k=rng.randint(1, 12))
        rows += [(user, item, rng.randint(0, latest)) for item in mine]
    rng.shuffle(rows)
    return rows


def histories(data: Lists) -> dict[int, set[int]]:
    """Everything a user has."""
    train, valid, test = data.split()
    return {u: items | {d[u] for d in (valid, test) if u in d} for u, items in train.items()}


def test_a_split_typed_by_hand(prepare: Any, tmp_path: Path) -> None:
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", EVENTS), *ALL, "--negatives", "2")
    assert lists_of(data).split() == EXPECTED
    assert by_hand(EVENTS, 1, 0) == EXPECTED
    assert data.manifest["counts"] == {
        "rows_read": 15, "duplicates_dropped": 1, "events": 14, "users": 5, "items": 6, "train_users": 5,
        "train_items": 6, "train_events": 7, "held_out_users": 4, "validation_users": 3,
    }  # fmt: skip
    assert data.manifest["warnings"] == ["1 repeated (user, item) pairs were kept once"]
    assert data.items.set_index("item_id")["count"].to_dict() == {10: 2, 20: 1, 30: 0, 40: 2, 50: 1, 60: 1}


def test_each_side_is_shown_all_that_came_before(prepare: Any, tmp_path: Path) -> None:
    found = lists_of(prepare("csv", "--raw", write(tmp_path / "r.csv", EVENTS), *ALL, "--negatives", "2"))
    train, valid, _ = EXPECTED
    assert {one.user: one.shown for one in found.lists("valid")} == {u: train[u] for u in valid}
    assert {one.user: one.shown for one in found.lists("test")} == {
        3: {50}, 7: {20, 40, 10}, 8: {10, 40, 50}, 9: {10, 20},
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_a_naive_loop(seed: int, prepare: Any, tmp_path: Path) -> None:
    rows = random_events(seed)
    rules = random.Random(seed)
    min_user, min_item = rules.choice([1, 2, 3, 5]), rules.choice([0, 1, 8, 10])
    words = ("--min-user-items", min_user, "--min-item-users", min_item, "--negatives", "5")
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", rows), *LOO, *words)
    found, expected = lists_of(data), by_hand(rows, min_user, min_item)
    assert found.split() == expected
    train, valid, test = expected
    assert {one.user: one.shown for one in found.lists("valid")} == {u: train[u] for u in valid}
    assert {one.user: one.shown for one in found.lists("test")} == {
        u: train[u] | ({valid[u]} if u in valid else set()) for u in test
    }
    assert found.users == sorted(train)
    assert found.items == sorted(set().union(*histories(found).values()))
    assert data.manifest["counts"]["duplicates_dropped"] == len(rows) - len({row[:2] for row in rows})


def test_the_default_is_five_items(prepare: Any, tmp_path: Path) -> None:
    rows = [(u, 10 + (u + k) % 20, k) for u in range(1, 9) for k in range(u)]
    data = lists_of(prepare("csv", "--raw", write(tmp_path / "r.csv", rows), *LOO, "--negatives", "3"))
    assert data.users == [5, 6, 7, 8]


def test_every_rating_counts_unless_a_threshold_is_given(prepare: Any, tmp_path: Path) -> None:
    rows = [(u, i, 1 if i == 4 else 5, i) for u in range(1, 4) for i in range(1, 5)]
    rows += [(9, i, 5, i) for i in range(10, 20)]
    raw = write(tmp_path / "r.csv", rows, "userId,movieId,rating,timestamp")
    data = prepare("csv", "--raw", raw, *ALL, "--negatives", "2")
    assert lists_of(data).positives("test") == {1: 4, 2: 4, 3: 4, 9: 19}
    assert data.manifest["parameters"]["threshold"] is None
    data = prepare("csv", "--raw", raw, *ALL, "--negatives", "2", "--threshold", "3.5", out="b")
    assert lists_of(data).positives("test") == {1: 3, 2: 3, 3: 3, 9: 19}


def test_times_decide_and_not_the_order_of_the_file(prepare: Any, tmp_path: Path) -> None:
    rows = [(user, item, 1000 * item + user) for user, item, _ in random_events(3)]
    one = prepare("csv", "--raw", write(tmp_path / "a.csv", rows), *ALL, "--negatives", "5", out="a")
    two = prepare("csv", "--raw", write(tmp_path / "b.csv", rows[::-1]), *ALL, "--negatives", "5", out="b")
    assert arrays(one.folder) == arrays(two.folder)


def test_a_seed_draws_negatives_but_times_decide_what_is_held_out(prepare: Any, tmp_path: Path) -> None:
    raw = write(tmp_path / "r.csv", random_events(4))
    one, two, again = (
        prepare("csv", "--raw", raw, *ALL, "--negatives", "5", "--seed", seed, out=f"s{k}")
        for k, seed in enumerate((1, 2, 1))
    )
    assert lists_of(one).split() == lists_of(two).split()
    assert arrays(one.folder)["test.candidates.npy"] != arrays(two.folder)["test.candidates.npy"]
    assert arrays(one.folder) == arrays(again.folder)


# Without times


def test_without_times_chance_decides_by_seed(prepare: Any, tmp_path: Path) -> None:
    pairs = [row[:2] for row in random_events(5)]
    shuffled = random.Random(0).sample(pairs, len(pairs))
    assert shuffled != pairs
    header = "userId,movieId"
    raw, other_order = write(tmp_path / "a.csv", pairs, header), write(tmp_path / "b.csv", shuffled, header)

    def run(path: Path, seed: int, out: str) -> Lists:
        return lists_of(prepare("csv", "--raw", path, *ALL, "--negatives", "5", "--seed", seed, out=out))

    first, again, reordered, other = run(raw, 1, "a"), run(raw, 1, "b"), run(other_order, 1, "c"), run(raw, 2, "d")
    assert arrays(first.folder) == arrays(again.folder) == arrays(reordered.folder)
    assert first.positives("test") != other.positives("test")
    assert first.positives("valid") != other.positives("valid")
    assert histories(first) == histories(other)
    distinct = defaultdict(set)
    for user, item in pairs:
        distinct[user].add(item)
    assert histories(first) == distinct
    assert first.positives("test").keys() == {u for u, items in distinct.items() if len(items) >= 2}
    assert first.positives("valid").keys() == {u for u, items in distinct.items() if len(items) >= 3}


def test_without_times_every_item_is_as_likely(prepare: Any, tmp_path: Path) -> None:
    pairs = [(u, i) for u in range(1500) for i in range(5)] + [(5000, i) for i in range(3, 20)]
    raw = write(tmp_path / "r.csv", pairs, "userId,movieId")
    data = lists_of(prepare("csv", "--raw", raw, *ALL, "--negatives", "1"))
    for name in HELD_OUT:
        found = Counter(item for user, item in data.positives(name).items() if user < 1500)
        assert stats.chisquare([found[i] for i in range(5)]).pvalue > 1e-5


def test_a_note_says_that_there_were_no_times(prepare: Any, tmp_path: Path) -> None:
    note = "no column of times: the held-out items were drawn at random"
    raw = write(tmp_path / "r.csv", [(u, i) for u in range(9) for i in range(u, u + 4)], "userId,movieId")
    assert note in prepare("csv", "--raw", raw, *ALL, "--negatives", "2").manifest["warnings"]
    raw = write(tmp_path / "t.csv", EVENTS)
    assert note not in prepare("csv", "--raw", raw, *ALL, "--negatives", "2", out="b").manifest["warnings"]


# Candidates


def candidate_rows() -> list[Event]:
    """300 users, each with 3 to 8 of 30 items."""
    rng = random.Random(11)
    return [(u, i, k) for u in range(300) for k, i in enumerate(rng.sample(range(30), rng.randint(3, 8)))]


@pytest.mark.parametrize("negatives", [1, 5, 22])
@pytest.mark.parametrize("block_cells", [None, 100])
def test_clean_candidates(
    negatives: int, block_cells: int | None, prepare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """22 is all that the busiest users have left."""
    if block_cells:
        monkeypatch.setattr(candidates, "BLOCK_CELLS", block_cells)
    raw = write(tmp_path / "r.csv", candidate_rows())
    data = lists_of(prepare("csv", "--raw", raw, *ALL, "--negatives", negatives))
    history = histories(data)
    assert max(map(len, history.values())) == 8
    for name in HELD_OUT:
        assert len(data.lists(name)) == 300
        for one in data.lists(name):
            assert one.wanted == {one.candidates[0]}
            assert len(set(one.candidates)) == len(one.candidates) == negatives + 1
            assert not history[one.user] & set(one.candidates[1:])
    valid, test = data.lists("valid"), data.lists("test")
    assert any(a.candidates[1:] != b.candidates[1:] for a, b in zip(valid, test, strict=True))


def test_mlperf_candidates(prepare: Any, tmp_path: Path) -> None:
    raw = write(tmp_path / "r.csv", candidate_rows())
    data = lists_of(prepare("csv", "--raw", raw, *ALL, "--negatives", "20", "--candidates", "mlperf"))
    train, valid, test = data.split()
    for name, barred in (("valid", train), ("test", {u: train[u] | {valid[u]} for u in train})):
        found = data.lists(name)
        assert all(one.wanted == {one.candidates[0]} and len(one.candidates) == 21 for one in found)
        assert not any(barred[one.user] & set(one.candidates[1:]) for one in found)
        assert any(len(set(one.candidates[1:])) < 20 for one in found)
        assert any(one.candidates[0] in one.candidates[1:] for one in found)
    assert any(test[one.user] in one.candidates[1:] for one in data.lists("valid"))


@pytest.mark.parametrize(("kind", "negatives"), [("clean", 5), ("clean", 18), ("mlperf", 40)])
def test_negatives_are_uniform(kind: str, negatives: int, prepare: Any, tmp_path: Path) -> None:
    raw = write(tmp_path / "r.csv", candidate_rows())
    data = lists_of(prepare("csv", "--raw", raw, *ALL, "--negatives", negatives, "--candidates", kind))
    history, (train, valid, _) = histories(data), data.split()
    drawn, expected = Counter[int](), Counter[int]()
    for one in data.lists("test"):
        free = set(range(30)) - (history[one.user] if kind == "clean" else train[one.user] | {valid[one.user]})
        drawn.update(one.candidates[1:])
        expected.update({item: negatives / len(free) for item in free})
    assert stats.chisquare([drawn[i] for i in range(30)], [expected[i] for i in range(30)]).pvalue > 1e-6


def test_small_and_large_lists_are_drawn_without_favour() -> None:
    """Every item is as likely in every place of the list, where chance draws and where a permutation does."""
    known = Matrix(indptr=np.arange(4001), indices=np.full(4000, 3, np.int32), n_items=12)
    for count in (4, 9):
        drawn = candidates.draw(known, count, kind="clean", seed=1, purpose="test")
        for place in range(count):
            found = np.bincount(drawn[:, place], minlength=12)
            assert found[3] == 0
            assert stats.chisquare(np.delete(found, 3)).pvalue > 1e-6


# Errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--negatives", "23"], "--negatives is 23, but a user has only 22 of 30 items left to draw from"),
        (["--negatives", "99"], "lower --negatives or raise --min-item-users"),
        (["--negatives", "0"], "--negatives is 0, expected a whole number from 1"),
        (["--candidates", "all"], "unknown --candidates 'all', known are: clean, mlperf"),
        (["--held-out-users", "5"], "--held-out-users does not go with leave-one-out"),
        (["--time-column", "when"], "no column 'when' among 'userId', 'movieId', 'timestamp'"),
        (["--min-user-items", "9"], "no user has 9 items (all 300 users filtered away); lower --min-user-items"),
        (["--min-item-users", "999"], "lower --min-user-items or --min-item-users"),
    ],
)
def test_bad_arguments(words: list[str], message: str, refuse: Any, tmp_path: Path) -> None:
    assert message in refuse("csv", "--raw", write(tmp_path / "r.csv", candidate_rows()), *ALL, *words)


def test_too_few_items_for_any_user(refuse: Any, tmp_path: Path) -> None:
    raw = write(tmp_path / "r.csv", [(u, u + k, k) for u in range(9) for k in range(2)])
    assert "no user has three items" in refuse("csv", "--raw", raw, *ALL, "--negatives", "1")
    raw = write(tmp_path / "all.csv", [(1, k, k) for k in range(4)] + [(2, k, k) for k in range(3)])
    assert "a user has only 0 of 4 items left" in refuse("csv", "--raw", raw, *ALL, "--negatives", "1")


def test_mlperf_needs_one_item_left(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    """A user who has everything has one item left for the test list: the positive itself."""
    raw = write(tmp_path / "r.csv", [(1, k, k) for k in range(4)])
    words = ("csv", "--raw", raw, *ALL, "--negatives", "3")
    assert lists_of(prepare(*words, "--candidates", "mlperf")).lists("test")[0].candidates == [3, 3, 3, 3]
    assert "a user has only 0 of 4 items left" in refuse(*words)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("", "line 3: 1 rows have an empty time, every row needs one"),
        ("noon", "line 3: 'noon' in column 'timestamp' is no time, as those before"),
    ],
)
def test_a_broken_time_is_named(time: str, message: str, refuse: Any, tmp_path: Path) -> None:
    lines = ["1,1,4", f"1,2,{time}", "1,3,5", *(f"2,{i},{i}" for i in range(4, 16))]
    (tmp_path / "r.csv").write_text("userId,movieId,timestamp\n" + "\n".join(lines) + "\n")
    assert message in refuse("csv", "--raw", tmp_path / "r.csv", *ALL, "--negatives", "2")


# Where the times come from


def test_a_named_time_column(prepare: Any, tmp_path: Path) -> None:
    rows = [(u, i, 77, t) for u, i, t in EVENTS]
    raw = write(tmp_path / "r.csv", rows, "userId,movieId,timestamp,when")
    data = prepare("csv", "--raw", raw, *ALL, "--negatives", "2", "--time-column", "when")
    assert lists_of(data).split() == EXPECTED
    assert data.manifest["parameters"]["time"] == "when"
    by_row = prepare("csv", "--raw", raw, *ALL, "--negatives", "2", out="rows")  # equal times: the last row of each
    assert lists_of(by_row).positives("test") == {3: 50, 7: 40, 8: 10, 9: 30}


@pytest.mark.parametrize("kind", ["int64", "int32", "float64", "datetime64[ns]", "datetime64[ms]", "zone", "date"])
def test_times_of_parquet(kind: str, prepare: Any, tmp_path: Path) -> None:
    table = pd.DataFrame(EVENTS, columns=["userId", "movieId", "when"])
    if kind == "zone":
        table["when"] = pd.to_datetime(table["when"], unit="s").dt.tz_localize("Europe/Berlin")
    elif kind == "date":
        table["when"] = [pd.Timestamp("1999-12-01").date() + pd.Timedelta(days=t) for t in table["when"]]
    elif kind.startswith("datetime"):
        table["when"] = pd.to_datetime(table["when"], unit="s").astype(kind)
    else:
        table = table.astype({"when": kind})
    table.to_parquet(tmp_path / "r.parquet", row_group_size=4)
    words = (*ALL, "--negatives", "2", "--time-column", "when")
    assert lists_of(prepare("parquet", "--raw", tmp_path / "r.parquet", *words)).split() == EXPECTED


def test_parquet_takes_its_timestamp_unasked(prepare: Any, tmp_path: Path) -> None:
    table = pd.DataFrame(EVENTS, columns=["userId", "movieId", "Timestamp"])
    table.to_parquet(tmp_path / "r.parquet")
    data = prepare("parquet", "--raw", tmp_path / "r.parquet", *ALL, "--negatives", "2")
    assert lists_of(data).split() == EXPECTED


def test_parquet_refuses_what_is_no_time(refuse: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    table = pd.DataFrame(EVENTS, columns=["userId", "movieId", "timestamp"])
    table.assign(timestamp="soon").to_parquet(path)
    words = ("parquet", "--raw", path, *ALL, "--negatives", "2")
    message = refuse(*words, "--time-column", "timestamp")
    assert "column 'timestamp' holds 'soon', expected seconds or milliseconds since 1970" in message
    table["timestamp"] = pd.to_datetime(table["timestamp"], unit="s").where(table["timestamp"] != 5)
    table.to_parquet(path)
    assert "row 15: 1 rows have an empty time" in refuse(*words)
    assert "no column 'when'" in refuse(*words, "--time-column", "when")


def test_fractions_of_a_second_decide_in_parquet(prepare: Any, tmp_path: Path) -> None:
    rows = [(1, 10, 5.75), (1, 20, 5.5), (1, 30, 5.25), *((2, i, i) for i in range(40, 50))]
    pd.DataFrame(rows, columns=["userId", "movieId", "timestamp"]).to_parquet(tmp_path / "r.parquet")
    data = lists_of(prepare("parquet", "--raw", tmp_path / "r.parquet", *ALL, "--negatives", "2"))
    assert (data.positives("valid")[1], data.positives("test")[1]) == (20, 10)


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("ml-100k", "u.data", "{0}\t{1}\t3\t{2}\n"),
        ("ml-1m", "ratings.dat", "{0}::{1}::3::{2}\n"),
        ("ml-10m", "ratings.dat", "{0}::{1}::0.5::{2}\n"),
    ],
)
def test_times_of_movielens(name: str, file: str, line: str, prepare: Any, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / file).write_text("".join(line.format(*event) for event in EVENTS))
    assert lists_of(prepare(name, "--raw", tmp_path / "raw", *ALL, "--negatives", "2")).split() == EXPECTED


@pytest.mark.parametrize("name", ["ml-20m", "ml-latest-small"])
def test_times_of_movielens_csv(name: str, prepare: Any, tmp_path: Path) -> None:
    rows = [(u, i, 0.5, t) for u, i, t in EVENTS]
    write(tmp_path / "ratings.csv", rows, "userId,movieId,rating,timestamp")
    data = prepare(name, "--raw", tmp_path / "ratings.csv", *ALL, "--negatives", "2")
    assert lists_of(data).split() == EXPECTED


@pytest.mark.parametrize("form", ["combined", "mv"])
def test_dates_of_netflix(form: str, prepare: Any, tmp_path: Path) -> None:
    """Users 6 and 7 against the order of the file; user 8 rated twice on her last day: the later row is later."""
    movies = {
        1: ["6,3,2005-12-31", "7,1,2001-01-02"],
        2: ["6,4,2004-02-28", "8,2,1999-11-11"],
        3: ["7,5,2000-12-31", "8,2,2003-03-03", "6,5,2004-02-29"],
        4: ["8,4,2003-03-03", "7,3,1999-12-31", "6,1,1999-01-01"],
        5: ["9,3,2005-01-01"],
        6: ["9,3,2005-01-02"],
    }
    (tmp_path / "nf").mkdir()
    texts = {movie: "\n".join([f"{movie}:", *rows]) + "\n" for movie, rows in movies.items()}
    if form == "combined":
        (tmp_path / "nf" / "combined_data_1.txt").write_text(texts[1] + texts[2] + texts[3])
        (tmp_path / "nf" / "combined_data_2.txt").write_text(texts[4] + texts[5] + texts[6])
    else:
        for movie, text in texts.items():
            (tmp_path / "nf" / f"mv_{movie:07d}.txt").write_text(text)
    data = lists_of(prepare("netflix", "--raw", tmp_path / "nf", *ALL, "--negatives", "2"))
    assert data.split() == ({6: {4, 2}, 7: {4}, 8: {2}, 9: {5}}, {6: 3, 7: 3, 8: 3}, {6: 1, 7: 1, 8: 4, 9: 6})


def test_a_netflix_date_that_is_none(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "combined_data_1.txt").write_text("1:\n1,5,2005-01-01\n2,5,2005-13-01\n")
    message = refuse("netflix", "--raw", tmp_path / "combined_data_1.txt", *ALL)
    assert "combined_data_1.txt, line 3: '2005-13-01' in column 'date'" in message


def test_synthetic_data_have_no_times(prepare: Any) -> None:
    data = prepare("synthetic", "--like", "tiny", *LOO, "--negatives", "10")
    assert data.manifest["warnings"][0].startswith("no column of times")
    found = lists_of(data)
    assert found.positives("test").keys() == found.positives("valid").keys() == set(found.users)


def test_real_ml_100k(prepare: Any, real_data: Path) -> None:
    data = lists_of(prepare("ml-100k", "--raw", real_data / "ml-100k", *LOO))
    table = pd.read_csv(real_data / "ml-100k" / "u.data", sep="\t", names=["user", "item", "rating", "time"])
    train, valid, test = by_hand(list(table[["user", "item", "time"]].itertuples(index=False, name=None)), 5, 0)
    assert data.split() == (train, valid, test)
    assert (len(train), len(data.items), len(test)) == (943, 1682, 943)
