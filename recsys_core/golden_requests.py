"""Golden requests: made-up histories that an exported model is asked with, which belong to no user.

Shape legend: B requests, I items, L longest history.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys_core.dataset import Dataset

SEED = 20_240_917
LONGEST = 1_000
"""Largest number of items in a made-up history."""


def made_up_histories(data: Dataset, count: int) -> npt.NDArray[np.int32]:
    """int32 [B, L] histories padded with the item count I; the same for the same data set.

    The lengths are spread over those of the training histories, and an item is drawn as often as users have it.

    Args:
        count: the number of requests B.
    """
    rng = np.random.default_rng(SEED)
    lengths = np.diff(data.train.indptr)
    lengths = lengths[lengths > 0]
    wanted = np.quantile(lengths, (np.arange(count) + 0.5) / count, method="nearest") if len(lengths) else np.ones(1)
    wanted = rng.permutation(np.resize(np.clip(wanted, 1, min(LONGEST, data.n_items)), count)).astype(np.int64)
    # The largest of log p + Gumbel noise are a sample without replacement.
    keys = np.log(data.train.item_counts() + 1.0) + rng.gumbel(size=(count, data.n_items))
    drawn = np.argsort(-keys, axis=1)[:, : int(wanted.max())].astype(np.int32)
    return np.where(np.arange(drawn.shape[1]) < wanted[:, None], drawn, np.int32(data.n_items))
