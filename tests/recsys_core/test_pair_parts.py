"""Batches of pairs of fixed shape: the pairs of the sparse batches in the same steps, in parts, with padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core.input.pair_parts import PairPart, PairTable, pair_part_batches, pair_table
from recsys_core.matrices import Csr
from tests.recsys_core.test_batches import world
from tests.recsys_core.test_pairs import N_PAIRS, matrix, per_epoch
from tests.recsys_core.test_pairs import stream as sparse_stream

ALWAYS, NEVER = float("inf"), 0.0
"""Bytes that the pairs may take on the device."""
OWNERS = np.repeat(np.arange(17), np.diff(matrix().indptr))


def stream(
    pairs: int, *, parts: int = 1, rank: int = 0, size: int = 1, table: PairTable | None = None, **changes: Any
) -> list[PairPart]:
    """Two epochs unless told."""
    options = {"seed": 5, "start_step": 0, "total_steps": 2 * per_epoch(pairs)} | changes
    table = table or pair_table(matrix(), ALWAYS)
    batches = pair_part_batches(table, pairs=pairs, parts=parts, world=world(rank, size), **options)
    return [PairPart(*(field.numpy() for field in batch)) for batch in batches]


def present(batch: PairPart) -> list[int]:
    return sorted(batch.positions[batch.positions >= 0].tolist())


def test_a_table_by_hand() -> None:
    train = Csr(indptr=np.array([0, 2, 2, 3]), indices=np.array([1, 4, 0], np.int32), n_items=5)
    resident, brought = pair_table(train, 48), pair_table(train, 47)
    assert resident.resident is not None and resident.resident.dtype == tf.int64
    assert resident.resident.numpy().tolist() == [[0, 1], [0, 4], [2, 0]]
    assert resident.brought(np.array([1])).shape == (1, 0)
    assert brought.resident is None
    assert brought.train is train  # no copy of the pairs is held
    assert brought.brought(np.array([[2, 1], [0, -3]])).tolist() == [[[2, 0], [0, 4]], [[0, 1], [2, 0]]]


@pytest.mark.parametrize("resident", [ALWAYS, NEVER], ids=["resident", "brought"])
def test_pairs_and_weights_by_hand(resident: float) -> None:
    table = pair_table(Csr(indptr=np.array([0, 2, 2, 3]), indices=np.array([1, 4, 0], np.int32), n_items=5), resident)
    one = {"step": tf.constant(7, tf.int64), "epoch": tf.constant(2, tf.int64), "global_pairs": tf.constant(2.0)}
    brought = (
        tf.zeros([3, 0], tf.int64) if table.resident is not None else tf.constant([[2, 0], [0, 4], [2, 0]], tf.int64)
    )
    batch, weights = table.batch_of(PairPart(positions=tf.constant([2, 1, -3], tf.int64), pairs=brought, **one))
    assert batch.positions.numpy().tolist() == [2, 1, 2]
    assert (batch.users.numpy().tolist(), batch.items.numpy().tolist()) == ([2, 0, 2], [0, 4, 0])
    assert (batch.users.dtype, batch.items.dtype) == (tf.int32, tf.int32)
    assert weights.numpy().tolist() == [1.0, 1.0, 0.0]
    assert (int(batch.step), int(batch.epoch), float(batch.global_pairs)) == (7, 2, 2.0)


@pytest.mark.parametrize(
    ("pairs", "size", "parts"),
    [(1, 1, 1), (7, 1, 3), (7, 2, 1), (7, 4, 3), (64, 1, 1), (64, 2, 3), (64, 4, 1), (1000, 1, 3), (1000, 4, 1)],
)
def test_the_same_pairs_in_the_same_global_batches(pairs: int, size: int, parts: int) -> None:
    sparse = sparse_stream(pairs)
    shares = [stream(pairs, parts=parts, rank=rank, size=size) for rank in range(size)]
    assert {len(share) for share in shares} == {len(sparse)}
    for whole, *ranks in zip(sparse, *shares, strict=True):
        together = [p for batch in ranks for p in present(batch)]
        assert sorted(together) == sorted(whole.positions.tolist())  # each once
        lengths = [len(present(batch)) for batch in ranks]
        assert max(lengths) - min(lengths) <= 1
        for batch in ranks:
            assert batch.step.tolist() == parts * [int(whole.step)]
            assert batch.epoch.tolist() == parts * [int(whole.epoch)]
            assert batch.global_pairs.tolist() == parts * [float(whole.global_pairs)]
            padding = batch.positions[batch.positions < 0]
            assert set(-1 - padding) <= set(whole.positions)  # rows that the batch updates anyway
            assert batch.positions.shape == ranks[0].positions.shape
            assert batch.pairs.shape == (*batch.positions.shape, 0)


def test_a_rank_without_a_pair_in_a_short_last_batch() -> None:
    pairs = N_PAIRS - 2  # the last batch has two pairs
    batches = [stream(pairs, rank=rank, size=4)[1] for rank in range(4)]
    assert [len(present(batch)) for batch in batches] == [1, 1, 0, 0]
    assert {batch.positions.shape for batch in batches} == {(1, 1)}
    (padding,) = {int(batch.positions[0, 0]) for batch in batches[2:]}
    assert -1 - padding in [p for batch in batches for p in present(batch)]


@pytest.mark.parametrize("parts", [1, 3])
def test_what_is_brought_are_the_pairs_at_the_positions(parts: int) -> None:
    brought = stream(7, parts=parts, rank=1, size=2, table=pair_table(matrix(), NEVER))
    resident = stream(7, parts=parts, rank=1, size=2)
    for batch, other in zip(brought, resident, strict=True):
        assert present(batch) == present(other)
        places = np.where(batch.positions >= 0, batch.positions, -1 - batch.positions)
        assert batch.pairs.dtype == np.int64
        assert batch.pairs.tolist() == np.stack([OWNERS[places], matrix().indices[places]], axis=-1).tolist()


@pytest.mark.parametrize("pairs", [7, 64])
def test_a_stream_starts_and_ends_anywhere(pairs: int) -> None:
    whole = stream(pairs, rank=1, size=2, parts=2)
    last = len(whole)
    for start, end in {(0, 1), (1, last), (last // 2, last), (last - 1, last), (last, last), (1, last - 1)}:
        got = stream(pairs, rank=1, size=2, parts=2, start_step=start, total_steps=end)
        assert len(got) == max(end - start, 0)
        for left, right in zip(whole[start:end], got, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_few_shapes_and_no_places_that_are_always_empty() -> None:
    for pairs, shapes in ((N_PAIRS, {(1, N_PAIRS)}), (1000, {(1, N_PAIRS)}), (N_PAIRS - 2, {(1, N_PAIRS - 2), (1, 2)})):
        assert {batch.positions.shape for batch in stream(pairs)} == shapes
    nearly = N_PAIRS * 3 // 5  # the last batch fills more than half of the places of a whole one
    assert {batch.positions.shape for batch in stream(nearly)} == {(1, nearly)}


def test_epochs_and_seeds_differ() -> None:
    first, second = stream(1000)
    assert present(first) == present(second)
    assert (first.positions != second.positions).any()
    assert (stream(1000, seed=6)[0].positions != first.positions).any()
