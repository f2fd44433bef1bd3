"""The stream of positive pairs: every pair once an epoch at any world size, the same batches, resumable anywhere."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from recsys_core.input import batches as pipeline
from recsys_core.input.batches import PairBatch, loads, pair_batches, without_repeats
from recsys_core.matrices import Csr
from recsys_core.world import World

PAIRS_A_BATCH = (1, 3, 7, 64, 1000)


class Part(World):
    """One rank of several."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@functools.cache
def matrix(users: int = 17, items: int = 11) -> Csr:
    """Users without an item among them."""
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(items, rng.integers(0, 9), replace=False)) for _ in range(users)]
    rows[0] = rows[5] = rows[0][:0]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.concatenate(rows).astype(np.int32), n_items=items)


N_PAIRS = len(matrix().indices)


def per_epoch(pairs: int) -> int:
    return math.ceil(N_PAIRS / pairs)


def stream(
    pairs: int, rank: int = 0, size: int = 1, start: int = 0, total: int | None = None, seed: int = 5
) -> list[PairBatch]:
    """Two epochs unless told."""
    end = 2 * per_epoch(pairs) if total is None else total
    data = pair_batches(matrix(), seed=seed, pairs=pairs, world=Part(rank, size), start_step=start, total_steps=end)
    return [PairBatch(*(part.numpy() for part in batch)) for batch in data]


def same(left: list[PairBatch], right: list[PairBatch]) -> bool:
    return len(left) == len(right) and all(
        a.dtype == b.dtype and np.array_equal(a, b)
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_the_matrix_is_a_hard_one() -> None:
    assert N_PAIRS % 3 and N_PAIRS % 7 and N_PAIRS > 64  # epochs end in a shorter batch


@pytest.mark.parametrize("pairs", PAIRS_A_BATCH)
def test_every_pair_once_an_epoch(pairs: int) -> None:
    batches = stream(pairs)
    assert [int(b.step) for b in batches] == list(range(2 * per_epoch(pairs)))
    assert [int(b.epoch) for b in batches] == [0] * per_epoch(pairs) + [1] * per_epoch(pairs)
    for epoch in range(2):
        mine = [b for b in batches if b.epoch == epoch]
        assert sorted(np.concatenate([b.positions for b in mine])) == list(range(N_PAIRS))
        assert [len(b.positions) for b in mine[:-1]] == [min(pairs, N_PAIRS)] * (len(mine) - 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("pairs", PAIRS_A_BATCH)
def test_ranks_share_the_global_batch(pairs: int, size: int) -> None:
    alone = stream(pairs)
    shares = [stream(pairs, rank, size) for rank in range(size)]
    assert {len(share) for share in shares} == {len(alone)}
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(np.concatenate([p.positions for p in parts])) == sorted(whole.positions)
        lengths = [len(p.positions) for p in parts]
        assert max(lengths) - min(lengths) <= 1
        for part in parts:
            assert (part.step, part.epoch) == (whole.step, whole.epoch)
            assert float(part.global_pairs) == len(whole.positions)


def test_positions_are_places_in_the_matrix() -> None:
    data = matrix()
    owners = [u for u in range(data.n_users) for _ in range(data.indptr[u], data.indptr[u + 1])]
    for batch in (*stream(7), *stream(64, 1, 3)):
        assert [p.dtype for p in batch] == [np.int64, np.int32, np.int32, np.int64, np.int64, np.float32]
        assert batch.users.tolist() == [owners[p] for p in batch.positions]
        assert batch.items.tolist() == data.indices[batch.positions].tolist()


@pytest.mark.parametrize("pairs", [7, 64])
def test_a_resumed_stream_goes_on(pairs: int) -> None:
    whole = stream(pairs, 1, 2)
    for start in range(len(whole) + 1):
        assert same(stream(pairs, 1, 2, start=start), whole[start:])


def test_a_stream_may_end_anywhere() -> None:
    whole = stream(7)
    for total in (1, 5, per_epoch(7), per_epoch(7) + 1):
        assert same(stream(7, total=total), whole[:total])
    assert stream(7, start=4, total=4) == []


@pytest.mark.parametrize("loaded", [1, 14, 15, 22, 64])
@pytest.mark.parametrize("pairs", [1, 7, 64])
def test_how_many_are_loaded_at_once_changes_nothing(pairs: int, loaded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, later = stream(pairs, 1, 2), stream(pairs, 1, 2, start=3)
    monkeypatch.setattr(pipeline, "LOADED_PAIRS", loaded)
    assert same(stream(pairs, 1, 2), whole)
    assert same(stream(pairs, 1, 2, start=3), later)


def test_epochs_and_seeds_differ() -> None:
    batches = stream(7)
    first, second = (np.concatenate([b.positions for b in batches if b.epoch == e]) for e in range(2))
    assert (first != second).any()
    assert same(batches, stream(7))
    assert not same(batches, stream(7, seed=6))
    orders = [set(b.positions.tolist()) for b in batches if b.epoch == 0]
    assert orders != [set(range(k, min(k + 7, N_PAIRS))) for k in range(0, N_PAIRS, 7)]  # shuffled


@pytest.mark.parametrize(
    ("start", "total", "per_epoch", "short", "several", "expected"),
    [
        (0, 10, 5, False, 100, [(0, 5), (5, 5)]),
        (0, 10, 5, True, 100, [(0, 4), (4, 1), (5, 4), (9, 1)]),
        (0, 10, 5, False, 2, [(0, 2), (2, 2), (4, 1), (5, 2), (7, 2), (9, 1)]),
        (0, 10, 5, True, 3, [(0, 3), (3, 1), (4, 1), (5, 3), (8, 1), (9, 1)]),
        (3, 7, 5, True, 100, [(3, 1), (4, 1), (5, 2)]),
        (4, 8, 5, False, 100, [(4, 1), (5, 3)]),
        (0, 3, 1, True, 100, [(0, 1), (1, 1), (2, 1)]),
        (0, 2, 5, False, 1, [(0, 1), (1, 1)]),
        (6, 6, 5, False, 9, []),
    ],
)
def test_what_is_loaded_together(
    start: int, total: int, per_epoch: int, short: bool, several: int, expected: list[tuple[int, int]]
) -> None:
    firsts, counts = loads(start, total, per_epoch, short, several)
    assert list(zip(firsts.tolist(), counts.tolist(), strict=True)) == expected


def test_repeats_are_taken_out() -> None:
    lists = [
        [5, 1, 2, 3, 4],
        [5, 1, 5, 1, 2],
        [0, 0, 0, 0, 0],
        [7, 3, 3, 7, 9],
        [4, 9, 2, 9, 9],
    ]
    expected = [
        [5, 1, 2, 3, 4],
        [5, 1, -1, -1, 2],
        [0, -1, -1, -1, -1],
        [7, 3, -1, -1, 9],
        [4, 9, 2, -1, -1],
    ]
    given = np.array(lists, np.int32)
    got = without_repeats(given)
    assert got.dtype == np.int32
    assert got.tolist() == expected
    assert given.tolist() == lists
    assert without_repeats(got).tolist() == expected


def test_repeats_in_short_lists() -> None:
    assert without_repeats(np.array([[3], [3]], np.int32)).tolist() == [[3], [3]]
    assert without_repeats(np.zeros((0, 4), np.int32)).shape == (0, 4)
    assert without_repeats(np.zeros((2, 0), np.int32)).shape == (2, 0)


def test_repeats_against_a_loop() -> None:
    lists = np.random.default_rng(0).integers(0, 30, (200, 25)).astype(np.int32)
    for row, got in zip(lists.tolist(), without_repeats(lists).tolist(), strict=True):
        assert got == [-1 if item in row[:k] else item for k, item in enumerate(row)]
