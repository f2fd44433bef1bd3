"""The Python API on a small table of purchases with text ids: train, look at the result, recommend.

    python -m examples.quickstart

Takes about 15 seconds on 2 CPU cores, TensorFlow's start included. Expect test NDCG@100 of about 0.75, popularity 0.32;
sku-1 is similar to others of its group (sku-5, sku-9, ...: numbers that leave 1 when divided by 4).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recsys_core import Dataset, Trainer
from vaecf import MultVae


def purchases(users: int = 400, items: int = 80, seed: int = 0) -> pd.DataFrame:
    """A table of purchases: each user buys from one of four groups of items, popular items more often."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, items // 4 + 1)
    rows = []
    for user in range(users):
        bought = rng.choice(items // 4, 10, replace=False, p=weights / weights.sum()) * 4 + user % 4
        rows += [(f"user{user}@example.org", f"sku-{item}", int(rng.integers(1_600_000_000))) for item in bought]
    return pd.DataFrame(rows, columns=["email", "sku", "bought_at"])


def main() -> None:
    """Train, look at the result, recommend."""
    ratings = purchases()
    data = Dataset.from_frame(ratings, user="email", item="sku", time="bought_at").split("users", held_out=0.1)
    model = MultVae(data, preset="quick")
    run = Trainer(precision="auto").fit(model, data)
    print(run.test["ndcg@100"])
    print(model.recommend(["user1@example.org"], k=5))
    print(model.similar_items("sku-1", k=3))


if __name__ == "__main__":
    main()
