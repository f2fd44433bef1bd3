"""Batches of fixed shape: the sparse batches' users and items in the same steps, in chunks, parts and few shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys_core.input import chunks as module
from recsys_core.input.batches import train_batches
from recsys_core.input.chunks import (
    WIDTH,
    ChunkPart,
    ChunkTable,
    chunk_batches,
    chunk_table,
    chunked,
    items_in_chunks,
    parts_within,
    size_from,
    slots,
    usual_chunks,
)
from recsys_core.matrices import Csr
from recsys_core.world import World
from tests.recsys_core.test_batches import world

ALWAYS, NEVER = float("inf"), 0.0
"""Bytes that the chunks may take on the device."""


def csr(rows: list[list[int]], n_items: int) -> Csr:
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.array([i for row in rows for i in row], np.int32), n_items=n_items)


ROWS = [[3, 5, 99], [], list(range(32)), list(range(60, 93)), [99]]
"""Three items, none, a whole chunk, one more than a chunk, the last item."""
SMALL = csr(ROWS, 100)


def test_a_table_by_hand() -> None:
    table = chunk_table(SMALL, ALWAYS)
    assert table.starts.tolist() == [0, 1, 1, 2, 4, 5]
    expected = [
        [3, 5, 99] + 29 * [100],
        list(range(32)),
        list(range(60, 92)),
        [92] + 31 * [100],
        [99] + 31 * [100],
        32 * [100],  # the empty chunk
    ]
    assert table.resident is not None and table.resident.dtype.name == "int64"
    assert table.resident.numpy().tolist() == expected
    assert table.items_of(np.array([4, 1])).numpy().tolist() == [expected[4], expected[1]]
    assert items_in_chunks(SMALL, table.starts, np.array([[5, 0], [3, 2]])).tolist() == [
        [expected[5], expected[0]],
        [expected[3], expected[2]],
    ]
    assert table.mean_chunks == 1.0


def test_a_table_is_on_the_device_where_it_fits() -> None:
    size = 6 * WIDTH * 8
    assert chunk_table(SMALL, size).resident is not None
    brought = chunk_table(SMALL, size - 1)
    assert brought.resident is None
    assert brought.matrix is SMALL  # no copy of the items is held
    assert brought.items_of(brought.brought(np.array([3]))).numpy().tolist() == [[92] + 31 * [100]]


def test_a_matrix_without_items() -> None:
    table = chunk_table(csr([[], []], 7), ALWAYS)
    assert table.starts.tolist() == [0, 0, 0]
    assert table.resident is not None and table.resident.numpy().tolist() == [32 * [7]]
    users, chunks, rows = chunked(table, np.array([0, 1]), 2, 1, usual=4)
    assert users.tolist() == [[0, 1]] and set(chunks.ravel()) == {0} and set(rows.ravel()) == {2}


def test_rows_in_chunks_by_hand() -> None:
    table = chunk_table(SMALL, ALWAYS)
    users, chunks, rows = chunked(table, np.array([1, 3, 4]), 4, 1, usual=4)
    assert users.tolist() == [[1, 3, 4, -1]]
    assert chunks.tolist() == [[2, 3, 4, 5]]
    assert rows.tolist() == [[1, 1, 2, 4]]


def test_rows_in_parts_by_hand() -> None:
    table = chunk_table(SMALL, ALWAYS)
    users, chunks, rows = chunked(table, np.array([0, 2, 3, 4]), 5, 3, usual=2)
    assert users.tolist() == [[0, 2], [3, 4], [-1, -1]]
    assert chunks.tolist() == [[0, 1, 5], [2, 3, 4], [5, 5, 5]]  # 2 chunks are not enough: 2.5, rounded up
    assert rows.tolist() == [[0, 1, 2], [0, 0, 1], [2, 2, 2]]


def test_no_rows_at_all() -> None:
    users, chunks, rows = chunked(chunk_table(SMALL, NEVER), np.array([], np.int64), 2, 2, usual=3)
    assert users.tolist() == [[-1], [-1]]
    assert chunks.shape == (2, 3, 32) and (chunks == 100).all()
    assert (rows == 1).all()


@pytest.mark.parametrize(
    ("needed", "usual", "expected"),
    [(0, 16, 16), (16, 16, 16), (17, 16, 20), (21, 16, 25), (26, 16, 32), (5, 0, 5), (0, 0, 1), (1000, 1000, 1000)],
)
def test_sizes_grow_by_a_quarter(needed: int, usual: int, expected: int) -> None:
    assert size_from(needed, usual) == expected


@pytest.mark.parametrize(
    ("users", "batch", "ranks", "expected"),
    [(500, 500, 1, 500), (500, 500, 4, 125), (501, 501, 4, 126), (250, 500, 1, 500), (249, 500, 1, 249),
     (3, 500, 4, 1), (1, 500, 4, 1), (250, 500, 4, 125), (1, 1, 1, 1)],
)  # fmt: skip
def test_places_for_a_shorter_batch(users: int, batch: int, ranks: int, expected: int) -> None:
    assert slots(users, batch, world(0, ranks)) == expected


@pytest.mark.parametrize(
    ("examples", "bytes_of_one", "budget", "expected"),
    [(100, 10, 1000.0, 1), (101, 10, 1000.0, 2), (100, 10, 9.0, 100), (100, 10, 999.0, 2), (1, 10, 0.5, 1),
     (100_000, 1_310_720, 26.7e9, 5)],
)  # fmt: skip
def test_parts_within_a_budget(examples: int, bytes_of_one: int, budget: float, expected: int) -> None:
    assert parts_within(examples, bytes_of_one, budget) == expected


def test_usual_chunks_by_hand() -> None:
    starts = np.arange(0, 401, 4)  # 100 users of 4 chunks each: no spread
    assert usual_chunks(starts, 10) == 48
    assert usual_chunks(starts, 4) == 16
    assert usual_chunks(starts, 5000) == 400  # there are no more
    sizes = np.array([0, 8] * 50)  # mean 4, standard deviation 4: 16 * 4 + 5 * 4 * 4 = 144
    assert usual_chunks(np.concatenate([[0], np.cumsum(sizes)]), 16) == 144
    assert usual_chunks(np.zeros(11, np.int64), 5) == 16


def ragged(users: int, items: int, seed: int = 0) -> Csr:
    """Some users without items, some with more than two chunks."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.geometric(0.03, users) - 1, items)
    sizes[3] = 0
    return csr([np.sort(rng.choice(items, n, replace=False)).tolist() for n in sizes], items)


TRAIN = ragged(53, 90)
COMMON: dict[str, Any] = {"seed": 5, "batch_size": 12}  # 4 whole batches and one of 5 users
STEPS = 13  # two epochs and a part of the third


def stream(table: ChunkTable, parts: int, rank: int = 0, size: int = 1, start: int = 0, **changes: Any) -> list:
    options = {**COMMON, "world": world(rank, size), "total_steps": STEPS} | changes
    batches = chunk_batches(table.matrix, table, parts=parts, start_step=start, **options)
    return [ChunkPart(*(field.numpy() for field in batch)) for batch in batches]


def found(table: ChunkTable, batch: ChunkPart) -> dict[int, list[int]]:
    """User -> items of a batch, with every promise of its fields checked."""
    histories: dict[int, list[int]] = {}
    parts, places = batch.users.shape
    for part in range(parts):
        users, rows = batch.users[part], batch.rows[part]
        items = table.items_of(batch.chunks[part]).numpy()
        assert items.shape == (len(rows), WIDTH) and len(batch.counts[part]) == places
        assert (items[rows == places] == table.matrix.n_items).all()
        for place, user in enumerate(users):
            own = items[rows == place].ravel()
            own = own[own < table.matrix.n_items].tolist()
            assert batch.counts[part][place] == len(own)
            assert user >= 0 or not own
            if user >= 0:
                assert int(user) not in histories
                histories[int(user)] = own
    return histories


@pytest.mark.parametrize("resident", [ALWAYS, NEVER], ids=["resident", "brought"])
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_same_users_and_items_as_the_sparse_batches(size: int, parts: int, resident: float) -> None:
    table = chunk_table(TRAIN, resident)
    for rank in range(size):
        sparse = train_batches(TRAIN, world=world(rank, size), start_step=0, total_steps=STEPS, **COMMON)
        got = stream(table, parts, rank, size)
        assert [field.dtype for field in got[0]] == [np.int64, np.float32, np.int64, np.int64, np.int64, np.float32]
        for step, (expected, batch) in enumerate(zip(sparse, got, strict=True)):
            splits, items = expected.row_splits.numpy(), expected.item_ids.numpy()
            wanted = {int(u): items[splits[k] : splits[k + 1]].tolist() for k, u in enumerate(expected.users.numpy())}
            assert found(table, batch) == wanted
            assert batch.step.tolist() == parts * [step]
            assert batch.global_users.tolist() == parts * [float(expected.global_users)]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_resumed_stream_goes_on(parts: int) -> None:
    table = chunk_table(TRAIN, ALWAYS)
    whole = stream(table, parts, 1, 2)
    for start in (0, 3, 5, 12, 13):
        for left, right in zip(whole[start:], stream(table, parts, 1, 2, start=start), strict=True):
            assert all((a == b).all() for a, b in zip(left, right, strict=True))


def test_more_ranks_than_users_in_the_last_batch() -> None:
    """Five users on eight ranks: three ranks have none, and every rank has the same places."""
    table = chunk_table(TRAIN, ALWAYS)
    last = [stream(table, 1, rank, 8)[4] for rank in range(8)]
    assert [batch.users.tolist() == [[-1]] for batch in last] == 5 * [False] + 3 * [True]
    assert sum(len(found(table, batch)) for batch in last) == 5


def test_batches_of_one_and_batches_larger_than_the_data() -> None:
    table = chunk_table(TRAIN, ALWAYS)
    ones = stream(table, 1, batch_size=1, total_steps=53)
    assert sorted(int(batch.users[0, 0]) for batch in ones) == list(range(53))
    one_step = stream(table, 1, batch_size=80, total_steps=2)
    assert [batch.users.shape for batch in one_step] == [(1, 53), (1, 53)]  # no places that are always empty
    assert one_step[0].global_users.tolist() == [53.0]


def test_few_shapes_over_many_steps() -> None:
    train = ragged(5000, 300, seed=3)
    table = chunk_table(train, ALWAYS)
    for parts in (1, 3):
        shapes = {
            tuple(field.shape for field in batch) for batch in stream(table, parts, batch_size=200, total_steps=125)
        }
        assert len(shapes) == 1
        uneven = stream(table, parts, batch_size=203, total_steps=125)  # ends with 128 users
        assert len({tuple(field.shape for field in batch) for batch in uneven}) == 1
        short = stream(table, parts, batch_size=330, total_steps=64)  # ends with 50 users
        assert len({tuple(field.shape for field in batch) for batch in short}) == 2


def test_a_batch_costs_nothing_that_grows_with_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual number of chunks depends on every user: it is found once for each number of places."""
    calls: list[int] = []

    def counted(starts: np.ndarray, users: int) -> int:
        calls.append(users)
        return usual_chunks(starts, users)

    monkeypatch.setattr(module, "usual_chunks", counted)
    assert len(stream(chunk_table(TRAIN, ALWAYS), 3)) == STEPS
    assert sorted(calls) == [2, 4]


def test_nothing_is_tuned_behind_it() -> None:
    table = chunk_table(TRAIN, ALWAYS)
    batches = chunk_batches(TRAIN, table, parts=1, world=World(), start_step=0, total_steps=2, **COMMON)
    assert batches.options().autotune.enabled is False


def test_a_user_with_far_more_items_than_others_gets_a_larger_shape() -> None:
    rows = [[k] for k in range(40)] + [list(range(2000))]
    table = chunk_table(csr(rows, 2000), NEVER)
    got = stream(table, 2, batch_size=41, total_steps=1)[0]
    assert found(table, got)[40] == list(range(2000))
    assert module.GROWTH == 1.25 and got.chunks.shape[1] >= 63
