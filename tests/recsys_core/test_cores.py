"""The cores of a rank: a core is divided among the ranks that may run on it, and only among those."""

from __future__ import annotations

import pytest

from recsys_core.world import cores_of_rank

CORES = {"all": frozenset(range(8)), "low": frozenset(range(4)), "high": frozenset(range(4, 8)), "one": frozenset({2})}


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (["all"], [8]),
        (["all", "all"], [4, 4]),  # nothing is bound: all share
        (["low", "high"], [4, 4]),  # each rank is bound to its own cores, which were halved once more
        (["low", "low", "high", "high"], [2, 2, 2, 2]),  # two ranks a socket
        (["all"] * 3, [2, 2, 2]),
        (["one", "one"], [1, 1]),  # never less than one
        (["low", "all"], [2, 6]),
    ],
)
def test_by_hand(ranks: list[str], expected: list[int]) -> None:
    affinities = [CORES[name] for name in ranks]
    assert [cores_of_rank(affinities, k) for k in range(len(ranks))] == expected
