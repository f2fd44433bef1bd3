"""From rows to interactions, against code that looks at one pair after another."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.encode import settle
from data_prep.encode.events import FILE, ITEM, ORDERS, TIME
from data_prep.split import segments

Row = tuple[int, int, float, int]
"""User, item, value, time."""
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([-1.0, 0, 0.5, 1, 2, 3.5]), st.integers(-3, 3)),
    max_size=40,
)
THRESHOLD = 1.0


def by_hand(rows: list[Row], rule: str, order: str, with_times: bool, with_values: bool) -> dict[str, Any]:
    """The interactions of each user as (item, time), and the counts."""
    of_pair: dict[tuple[int, int], list[tuple[int, int, float]]] = defaultdict(list)
    for place, (user, item, value, time) in enumerate(rows):
        of_pair[user, item].append((time if with_times else 0, place, value if with_values else THRESHOLD + 1))
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    overridden = rated_down = below = 0
    for (user, item), own in of_pair.items():
        own.sort(key=lambda row: row[:2])
        high = [row for row in own if row[2] > THRESHOLD]
        if rule == settle.SUM:
            stays, stands = sum(value for *_, value in own) > THRESHOLD, own[0]
            overridden += (len(own) - 1) * stays
            below += len(own) * (not stays)
        else:
            stays = bool(high) if rule == settle.ANY else own[-1][2] > THRESHOLD
            stands = high[0] if high else own[0]
            overridden += (len(own) - 1) * bool(high)
            rated_down += bool(high) and not stays
            below += len(own) - len(high)
        if stays:
            time, place, _ = stands
            found[user].append(({ITEM: (item,), TIME: (time, place), FILE: (place,)}[order], item, time))
    events = {user: [(item, time) for _, item, time in sorted(own)] for user, own in found.items()}
    return {"events": events, "overridden": overridden, "rated_down": rated_down, "below": below}


def settled(rows: list[Row], rule: str, order: str, with_times: bool, with_values: bool, kind: Any = np.int64) -> Any:
    users, items = (np.array([row[k] for row in rows], np.int32) for k in (0, 1))
    values = np.array([row[2] for row in rows], np.float32) if with_values else None
    if values is not None and rule != settle.SUM:
        values = values > THRESHOLD
    times = np.array([row[3] for row in rows], kind) if with_times else None
    columns = settle.Columns(users=users, items=items, values=values, times=times)
    return settle.settle(columns, 4, 5, threshold=THRESHOLD, rule=rule, order=order)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(sorted(set(settle.RULES.values()))), st.sampled_from(ORDERS), st.booleans(), st.booleans(),
       st.sampled_from([np.int32, np.int64, np.float64]), st.sampled_from([1, 4, 1 << 16]))  # fmt: skip
def test_every_rule_and_order(
    rows: list[Row], rule: str, order: str, with_times: bool, with_values: bool, kind: Any, piece: int
) -> None:
    with_times = with_times or order == TIME
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "PIECE", piece)
        found = settled(rows, rule, order, with_times, with_values, kind)
    if not with_values:
        rule = settle.ANY
    expected = by_hand(rows, rule, order, with_times, with_values)
    block = found.block
    assert (len(block.indptr), block.items.dtype) == (5, np.int32)
    items = {u: block.items[block.indptr[u] : block.indptr[u + 1]].tolist() for u in range(4)}
    assert {u: own for u, own in items.items() if own} == {
        user: [item for item, _ in own] for user, own in expected["events"].items()
    }
    if block.times is not None:
        times = [t for u in range(4) for _, t in expected["events"].get(u, [])]
        assert block.times.tolist() == times
    assert (found.overridden, found.rated_down, found.rows_below) == (
        expected["overridden"], expected["rated_down"], expected["below"],
    )  # fmt: skip


def test_repeated_pairs_typed_by_hand() -> None:
    """Pair (0, 0): 2, 0, 2 at times 5, 6, 7. Pair (0, 1): 2 at 1, then 0. Pair (1, 2): 0.5 three times."""
    rows: list[Row] = [
        (0, 0, 2.0, 5), (0, 1, 2.0, 1), (1, 2, 0.5, 1), (0, 0, 0.0, 6), (0, 1, 0.0, 2), (1, 2, 0.5, 2), (0, 0, 2.0, 7),
        (1, 2, 0.5, 3), (2, 3, 2.0, 0),
    ]  # fmt: skip
    latest = settled(rows, settle.LATEST, TIME, True, True)
    assert latest.block.items.tolist() == [0, 3]
    assert latest.block.times.tolist() == [5, 0]
    assert (latest.overridden, latest.rated_down, latest.rows_below) == (2 + 1, 1, 5)
    summed = settled(rows, settle.SUM, TIME, True, True)
    assert summed.block.items.tolist() == [1, 0, 2, 3]
    assert summed.block.times.tolist() == [1, 5, 1, 0]
    assert (summed.overridden, summed.rated_down, summed.rows_below) == (1 + 2 + 2, 0, 0)


def test_a_sum_is_compared_as_a_value_is() -> None:
    """0.1 in 32 bits is not above 0.1, alone or with a row of 0."""
    users, items = np.array([0, 0, 0], np.int32), np.array([0, 1, 1], np.int32)
    columns = settle.Columns(users=users, items=items, values=np.array([0.1, 0.1, 0.0], np.float32))
    found = settle.settle(columns, 1, 2, threshold=0.1, rule=settle.SUM, order=ITEM)
    assert (len(found.block.items), found.rows_below) == (0, 3)


def test_more_repeats_than_a_byte_counts() -> None:
    columns = settle.Columns(users=np.zeros(1000, np.int32), items=np.zeros(1000, np.int32))
    found = settle.settle(columns, 1, 1, threshold=0, rule=settle.ANY, order=ITEM)
    assert (found.block.items.tolist(), found.overridden) == ([0], 999)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), max_size=9), max_size=9),
    st.sampled_from([1, 3, 1 << 16]), st.booleans(),
)  # fmt: skip
def test_sorting_within_groups(groups: list[list[int]], piece: int, as_float: bool) -> None:
    """Stable, for numbers that fit into one word with their places and for others, for floats, with empty groups."""
    indptr = np.concatenate([[0], np.cumsum([len(g) for g in groups])]).astype(np.int64)
    values = np.array([v for g in groups for v in g], np.float64 if as_float else np.int64)
    places = np.arange(len(values))
    expected = [p for a, b in pairwise(indptr)
                for p in sorted(range(a, b), key=lambda p: values[p])]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "PIECE", piece)
        ordered, order = segments.sorted_by(indptr, values, places)
        from_last = segments.from_last(indptr, values)
    assert order.tolist() == expected
    assert ordered.tolist() == values[expected].tolist()
    ends = np.repeat(indptr[1:], np.diff(indptr))
    assert from_last[expected].tolist() == (ends - 1 - places).tolist()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dictionaries(st.integers(0, 2**31 - 1) | st.integers(0, 5), st.integers(0, 3), max_size=6), max_size=8),
    st.sampled_from([1, 3, 1 << 16]), st.booleans(),
)  # fmt: skip
def test_values_and_their_tags(groups: list[dict[int, int]], piece: int, tagged: bool) -> None:
    indptr = np.concatenate([[0], np.cumsum([len(g) for g in groups])]).astype(np.int64)
    values = np.array([v for g in groups for v in g], np.int32)
    tags = np.array([t for g in groups for t in g.values()], np.int8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "PIECE", piece)
        found, found_tags = segments.sorted_within(indptr, values, tags if tagged else None)
    assert found.tolist() == [v for g in groups for v in sorted(g)]
    assert segments.ascends(indptr, found)
    assert (found_tags is None) if not tagged else found_tags.tolist() == [g[v] for g in groups for v in sorted(g)]


@given(st.lists(st.integers(0, 6), max_size=30))
@settings(max_examples=50, deadline=None)
def test_rows_by_their_code(codes: list[int]) -> None:
    indptr, order = segments.by_code(np.array(codes, np.int32), 7)
    assert order.tolist() == sorted(range(len(codes)), key=lambda row: codes[row])
    assert indptr.tolist() == [sum(c < k for c in codes) for k in range(8)]
