"""The order of an epoch: a permutation for every size, another one for each epoch and seed, and a good shuffle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from recsys_core.input import order
from recsys_core.input.order import ROUNDS, EpochOrder, GlobalBatches, KeyedPermutation, kind_of_order, share
from recsys_core.matrices import Csr
from recsys_core.seeding import words
from recsys_core.world import World


class Part(World):
    """One rank of several."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def keyed(n: int, seed: int = 7, epoch: int = 3) -> KeyedPermutation:
    return KeyedPermutation(n, words(seed, "order", ROUNDS, epoch))


def whole(n: int, seed: int = 7, epoch: int = 3) -> npt.NDArray[np.int64]:
    return keyed(n, seed, epoch).at(np.arange(n))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [0]),
        (10, [2, 4, 8, 0, 3, 9, 1, 6, 5, 7]),
        (1000, [393, 372, 810, 260, 428, 903, 751, 468]),
        (5_000_000_000, [1056771313, 1532863630, 4001474684, 2149005272, 1181657512, 4237326941]),
    ],
)
def test_known_values(n: int, expected: list[int]) -> None:
    """A stored run is resumed with the same order only as long as these hold."""
    assert keyed(n).at(np.arange(len(expected))).tolist() == expected


def test_a_permutation_for_every_size() -> None:
    sizes = [*range(1, 400), *(2**k + d for k in (10, 13, 16, 17) for d in (-1, 0, 1)), 361**2, 361**2 + 1, 100_003]
    for n in sizes:
        assert np.array_equal(np.sort(whole(n)), np.arange(n)), n


@pytest.mark.parametrize("n", [2**20 + 1, 2**32 - 1, 2**32, 2**32 + 1, 10**12, 2**53 + 1, 2**62])
def test_large_sizes_by_samples(n: int) -> None:
    rng = np.random.default_rng(0)
    places = np.unique(np.concatenate([np.arange(20_000), n - 1 - np.arange(20_000), rng.integers(0, n, 60_000)]))
    found = keyed(n).at(places)
    assert len(np.unique(found)) == len(places)
    assert 0 <= found.min() < n // 1000 and n - n // 1000 < found.max() < n


def test_any_part_alone_and_any_shape() -> None:
    permutation, every = keyed(50_000), whole(50_000)
    assert np.array_equal(permutation.at(np.arange(16_380, 16_390)), every[16_380:16_390])
    places = np.array([[3, 49_999], [0, 7]])
    assert np.array_equal(permutation.at(places), every[places])
    assert permutation.at(np.empty((0, 4), np.int64)).shape == (0, 4)


def chi_squared(bins: npt.NDArray[np.int64], count: int) -> float:
    """How far counts of numbers 0 to count - 1 are from equal, in standard deviations of what chance gives."""
    found = np.bincount(bins, minlength=count)
    expected = len(bins) / count
    return float((((found - expected) ** 2 / expected).sum() - (count - 1)) / np.sqrt(2 * (count - 1)))


@pytest.mark.parametrize("n", [2**20 + 1, 3_000_017, 10**10])
@pytest.mark.parametrize("start", [0, 777_777])
def test_positions_are_uniform_and_successive_ones_independent(n: int, start: int) -> None:
    found = keyed(n).at(np.arange(start, start + 100_000))
    assert abs(chi_squared(found * 64 // n, 64)) < 4
    assert abs(chi_squared(found % 61, 61)) < 4
    steps = np.diff(found) % n
    assert abs(chi_squared(steps * 64 // n, 64)) < 4
    for lag in (1, 2, 64, 1024, 1449, 1732):  # two of them are the sides of the network
        assert abs(np.corrcoef(found[:-lag], found[lag:])[0, 1]) < 4 / np.sqrt(len(found) - lag)
        pairs = (found[:-lag] * 16 // n) * 16 + found[lag:] * 16 // n
        assert abs(chi_squared(pairs, 256)) < 4


def test_neighbours_are_spread_over_batches_as_by_chance() -> None:
    """The pairs of an active user stand together in the matrix: how many of them a batch gets is hypergeometric."""
    n, batch, group = 1_200_000, 1_200, 12_000
    groups = whole(n).reshape(-1, batch) // group
    table = np.stack([np.bincount(row, minlength=n // group) for row in groups])
    expected = batch * group / n * (1 - group / n) * (n - batch) / (n - 1)
    assert table.mean() == batch * group / n
    assert table.var() == pytest.approx(expected, rel=4 * np.sqrt(2 / table.size))


@pytest.mark.parametrize("n", [5, 97, 1000])
def test_every_place_gets_every_value_over_epochs(n: int) -> None:
    permutations = np.stack([keyed(n, epoch=e).at(np.array([0, n // 2, n - 1])) for e in range(2000)])
    bins = min(n, 20)
    for column in permutations.T:
        assert abs(chi_squared(column * bins // n, bins)) < 4


@pytest.mark.parametrize("n", [1000, order.IN_MEMORY + 1])
def test_epochs_and_seeds_differ(n: int) -> None:
    places = np.arange(1000)
    first = EpochOrder(1, n).at(0, places)
    assert np.array_equal(EpochOrder(1, n).at(0, places), first)
    for other in (EpochOrder(1, n).at(1, places), EpochOrder(2, n).at(0, places)):
        assert (other == first).sum() < 8  # 1 is expected of a small one
        assert abs(np.corrcoef(other, first)[0, 1]) < 4 / np.sqrt(1000)


def test_a_small_order_is_that_of_earlier_versions() -> None:
    assert kind_of_order(1 << 20) == "array"
    assert kind_of_order((1 << 20) + 1) == "keyed-1"
    assert EpochOrder(0, 8).at(0, np.arange(8)).tolist() == [0, 3, 6, 4, 5, 7, 1, 2]
    assert EpochOrder(0, 8).at(1, np.arange(8)).tolist() == [5, 3, 0, 4, 2, 7, 1, 6]


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(7, 3, [(0, 3), (3, 5), (5, 7)]), (2, 4, [(0, 1), (1, 2), (2, 2), (2, 2)]), (6, 2, [(0, 3), (3, 6)])],
)
def test_shares_by_hand(count: int, size: int, expected: list[tuple[int, int]]) -> None:
    assert [share(count, Part(rank, size)) for rank in range(size)] == expected


@pytest.mark.parametrize("in_memory", [1 << 20, 0], ids=["array", "keyed"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 30])
def test_ranks_share_the_same_global_batches(size: int, in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "IN_MEMORY", in_memory)
    alone = GlobalBatches(5, 103, 25, World())
    ranks = [GlobalBatches(5, 103, 25, Part(rank, size)) for rank in range(size)]
    assert alone.per_epoch == 5
    assert [alone.size(step) for step in range(6)] == [25, 25, 25, 25, 3, 25]
    epoch = []
    for step in range(5):
        expected = alone.mine(step)[0]
        assert np.array_equal(np.concatenate([r.mine(step)[0] for r in ranks]), expected)
        assert {int(r.first(step)[0]) for r in ranks} == {int(expected[0])}
        epoch += expected.tolist()
    assert sorted(epoch) == list(range(103))
    assert alone.mine(6).tolist() != alone.mine(1).tolist()
    for rank in ranks:
        assert np.array_equal(rank.mine(6, 3), np.concatenate([rank.mine(6), rank.mine(7), rank.mine(8)]))


def test_owners_by_hand() -> None:
    train = Csr(indptr=np.array([0, 0, 2, 2, 2, 5, 5]), indices=np.zeros(5, np.int32), n_items=1)
    assert train.owners(np.array([[4, 0], [1, 2]])).tolist() == [[4, 1], [1, 4]]
