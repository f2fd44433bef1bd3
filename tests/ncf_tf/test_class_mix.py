"""What a rank trains on, told by the training matrix alone: the share of positives, and whether any id is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ncf_tf.negatives import NegativeSampler
from recsys_core.dataset import Dataset
from recsys_core.input.batches import pair_batches, steps_per_epoch
from recsys_core.world import World

NEGATIVES, PAIRS, RANKS = 4, 1024, 4


class Part(World):
    """One rank of several."""

    def __init__(self, rank: int) -> None:
        self.rank, self.size = rank, RANKS


@pytest.mark.parametrize("verified", [False, True])
def test_every_rank_has_the_global_share_of_positives(verified: bool, tiny_pairs: Path) -> None:
    """A sample is positive if the training matrix has it - not because of the column it stands in."""
    train = Dataset.open(tiny_pairs).train
    known = train.to_scipy().toarray().astype(bool)
    steps = steps_per_epoch(len(train.indices), PAIRS)
    shares = np.zeros((RANKS, steps))
    sizes = np.zeros((RANKS, steps))
    users_seen, items_seen = np.zeros(train.n_users, int), np.zeros(train.n_items, int)
    for rank in range(RANKS):
        sampler = NegativeSampler(train, NEGATIVES, seed=3, verified=verified)
        batches = pair_batches(train, seed=3, pairs=PAIRS, world=Part(rank), start_step=0, total_steps=steps)
        for step, batch in enumerate(batches):
            drawn = sampler.draw(batch.epoch, batch.positions, batch.users)
            items = tf.concat([batch.items[:, None], drawn], axis=1).numpy()
            users = batch.users.numpy()
            shares[rank, step] = known[users[:, None], items].mean()
            sizes[rank, step] = items.size
            np.add.at(users_seen, users, 1)
            np.add.at(items_seen, items[:, 0], 1)
    assert (sizes > 0).all()
    if verified:
        assert shares == pytest.approx(np.full_like(shares, 1 / (1 + NEGATIVES)))
    else:
        everywhere = (shares * sizes).sum() / sizes.sum()
        errors = np.sqrt(everywhere * (1 - everywhere) / sizes)
        assert (np.abs(shares - everywhere) < 5 * errors).all()
        means = (shares * sizes).sum(axis=1) / sizes.sum(axis=1)
        assert (np.abs(means - everywhere) < 5 * errors.mean(axis=1) / np.sqrt(steps)).all()
    assert (users_seen == np.diff(train.indptr)).all()  # nobody and nothing is lost to a dropped batch
    assert (items_seen == train.item_counts()).all()
