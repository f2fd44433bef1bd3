"""The training stream: every user once an epoch at any world size, the same global batches, resumable anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_core.input.batches import Batch, evaluation_batches, pair_batches, steps_per_epoch, train_batches
from recsys_core.matrices import Csr, HeldOut
from recsys_core.world import World


def world(rank: int, size: int) -> World:
    one = World()
    one.rank, one.size = rank, size
    return one


def matrix(users: int = 23, items: int = 11) -> Csr:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(items, rng.integers(0, 6), replace=False)) for _ in range(users)]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.concatenate(rows).astype(np.int32), n_items=items)


def stream(rank: int, size: int, start: int = 0, total: int = 8, batch: int = 6) -> list[Batch]:
    data = train_batches(
        matrix(), seed=5, batch_size=batch, world=world(rank, size), start_step=start, total_steps=total
    )
    return list(data)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6])
def test_every_user_once_an_epoch(size: int) -> None:
    per_epoch = steps_per_epoch(23, 6)
    assert per_epoch == 4
    for epoch in range(2):
        users = [
            u
            for rank in range(size)
            for batch in stream(rank, size)[epoch * per_epoch : (epoch + 1) * per_epoch]
            for u in batch.users.numpy()
        ]
        assert sorted(users) == list(range(23))


@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_ranks_share_the_global_batch(size: int) -> None:
    alone = stream(0, 1)
    shares = [stream(rank, size) for rank in range(size)]
    for step, whole in enumerate(alone):
        parts = [share[step] for share in shares]
        assert sorted(np.concatenate([p.users.numpy() for p in parts])) == sorted(whole.users.numpy())
        lengths = [len(p.users) for p in parts]
        assert max(lengths) - min(lengths) <= 1
        assert {float(p.global_users) for p in parts} == {float(len(whole.users))}
    assert {len(share) for share in shares} == {len(alone)}


def test_a_resumed_stream_goes_on() -> None:
    for left, right in zip(stream(1, 2)[3:], stream(1, 2, start=3), strict=True):
        assert all((a.numpy() == b.numpy()).all() for a, b in zip(left, right, strict=True))


def test_epochs_differ_and_seeds_repeat() -> None:
    order = [batch.users.numpy().tolist() for batch in stream(0, 1)]
    assert order[:4] != order[4:]
    assert order == [batch.users.numpy().tolist() for batch in stream(0, 1)]


def test_rows_are_the_users_items() -> None:
    data = matrix()
    for batch in stream(0, 2):
        splits = batch.row_splits.numpy()
        for k, user in enumerate(batch.users.numpy()):
            expected = data.indices[data.indptr[user] : data.indptr[user + 1]]
            assert batch.item_ids.numpy()[splits[k] : splits[k + 1]].tolist() == expected.tolist()


def test_nothing_is_tuned_behind_it() -> None:
    """The thread that tunes keeps whoever drops an iterator waiting, for up to a minute."""
    held_out = HeldOut(fold_in=matrix(), fold_out=matrix())
    common = {"seed": 5, "world": World(), "start_step": 0, "total_steps": 8}
    for batches in (
        train_batches(matrix(), batch_size=6, **common),
        pair_batches(matrix(), pairs=6, **common),
        evaluation_batches(held_out, block_size=6, world=World()),
    ):
        assert batches.options().autotune.enabled is False
