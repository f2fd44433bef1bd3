"""Filters: k-core until nothing changes, caps, and minimum counts, against loops over sets of pairs."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.split.filters import Filtered, filtered
from data_prep.split.rules import SplitRules

from .small import Pairs, Row, events, in_blocks


def kept(found: Filtered) -> Pairs:
    """(user id, item id) of what is kept."""
    users, items = found.user_ids.to_pylist(), found.item_ids.to_pylist()
    pairs = {(users[block.first + row], items[item]) for block in found.blocks()
             for row, item in zip(block.rows().tolist(), block.items.tolist(), strict=True)}  # fmt: skip
    assert found.count == len(pairs) == found.counts()["events"]
    lengths, counts = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
    assert found.lengths.tolist() == [lengths[u] for u in users]
    assert found.item_counts.tolist() == [counts[i] for i in items]
    assert found.users.tolist() == [lengths[u] > 0 for u in users]
    assert found.items.tolist() == [counts[i] > 0 for i in items]
    return pairs


def naive(pairs: Pairs, min_item: int, min_user: int, k: int) -> Pairs:
    """Items, then users, once; then one user or item after another until every one has k."""
    counts = Counter(i for _, i in pairs)
    pairs = {(u, i) for u, i in pairs if counts[i] >= min_item}
    lengths = Counter(u for u, _ in pairs)
    pairs = {(u, i) for u, i in pairs if lengths[u] >= min_user}
    while True:
        counts, lengths = Counter(i for _, i in pairs), Counter(u for u, _ in pairs)
        rare = next((("i", i) for i in counts if counts[i] < k), None) or next(
            (("u", u) for u in lengths if lengths[u] < k), None
        )
        if rare is None:
            return pairs
        pairs = {(u, i) for u, i in pairs if rare not in (("i", i), ("u", u))}


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4),
)  # fmt: skip
def test_agrees_with_a_naive_loop(pairs: Pairs, k: int, min_item: int, min_user: int, users: int) -> None:
    rules = SplitRules(k_core=k, min_item_users=min_item, min_user_items=min_user)
    expected = naive(pairs, min_item, min_user, k)
    found = in_blocks(events([(u, i, 0) for u, i in sorted(pairs)], with_times=False), users)
    if not expected:
        with pytest.raises(ValueError, match="all .* users filtered away"):
            filtered(found, rules)
        return
    assert kept(filtered(found, rules)) == expected


def test_a_chain_needs_many_rounds() -> None:
    """User k has items k and k + 1, item 0 has one user: one after another goes, and a block of 3 x 3 stays."""
    rows: list[Row] = [(k, k + d, 0) for k in range(20) for d in (0, 1)] + [(100 + u, 100 + i, 0) for u in range(3)
                                                                          for i in range(3)]  # fmt: skip
    found = filtered(events(rows), SplitRules(k_core=2, min_user_items=1))
    assert kept(found) == {(100 + u, 100 + i) for u in range(3) for i in range(3)}
    assert found.notes == ("--k-core 2 keeps 3 of 23 users and 3 of 24 items (20 rounds)",)


def _rows(seed: int) -> list[Row]:
    rng = random.Random(seed)
    return [(rng.randint(0, 12), rng.randint(0, 25), rng.randint(0, 20)) for _ in range(250)]


@pytest.mark.parametrize("seed", range(5))
def test_a_cap_keeps_the_latest(seed: int) -> None:
    """Of equal times the later row of the source; the cap comes before minimum counts."""
    rows, cap = _rows(seed), 6
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for place, (u, i, t) in enumerate(rows):
        first[u, i] = min((t, place), first.get((u, i), (t, place)))
    expected: Pairs = set()
    for user in {u for u, *_ in rows}:
        own = sorted((when, i) for (u, i), when in first.items() if u == user)
        expected |= {(user, i) for _, i in own[-cap:]}
    rules = SplitRules(max_user_items=cap, min_user_items=1)
    assert kept(filtered(in_blocks(events(rows), seed % 3), rules)) == expected
    rules = SplitRules(max_user_items=cap, min_user_items=1, min_item_users=3, k_core=2)
    try:
        assert kept(filtered(in_blocks(events(rows), seed % 3), rules)) == naive(expected, 3, 1, 2)
    except ValueError:
        assert not naive(expected, 3, 1, 2)


def test_a_cap_without_times_is_chance_that_depends_on_nothing_but_the_seed() -> None:
    """Not on the order of the source, nor on the blocks, where some have no user with more (they were skipped)."""
    rows = [*_rows(1), *((u, 1, 0) for u in range(100, 130)), (-5, 3, 0)]
    every = {(u, i) for u, i, _ in rows}
    rules = SplitRules(max_user_items=4, min_user_items=1)
    found = [
        kept(filtered(in_blocks(events(own, with_times=False), users), rules))
        for own in (rows, sorted(rows), rows[::-1]) for users in (0, 1, 5)
    ]  # fmt: skip
    assert all(one == found[0] for one in found[1:])
    assert found[0] < every
    lengths = Counter(u for u, _ in every)
    assert Counter(u for u, _ in found[0]) == {u: min(n, 4) for u, n in lengths.items()}
    other = SplitRules(max_user_items=4, min_user_items=1, seed=1)
    assert kept(filtered(events(rows, with_times=False), other)) != found[0]


def test_the_command_says_what_k_core_keeps(prepare: Any, refuse: Any, tmp_path: Any) -> None:
    pairs = [(u, i) for u in range(12) for i in range(8)] + [(u, 100 + u) for u in range(12)]
    (tmp_path / "r.csv").write_text("user,item\n" + "".join(f"{u},{i}\n" for u, i in pairs))
    data = prepare("table", "--raw", tmp_path / "r.csv", "--k-core", "6")
    assert "--k-core 6 keeps 12 of 12 users and 8 of 20 items (1 rounds)" in data.manifest["warnings"]
    assert data.manifest["parameters"]["k_core"] == 6
    message = refuse("table", "--raw", tmp_path / "r.csv", "--k-core", "9")
    assert "--k-core 9 leaves no user (all 12 users filtered away); lower --k-core" in message
