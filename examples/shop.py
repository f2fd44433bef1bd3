"""The purchases of an invented shop, as a table with text ids and times. The other examples train on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

KINDS = {
    "kitchen": ("mug", "plate", "bowl", "teapot", "tray"),
    "clothes": ("scarf", "hat", "gloves", "socks", "belt"),
    "desk": ("notebook", "pen", "folder", "calendar", "ruler"),
    "home": ("lamp", "cushion", "rug", "vase", "clock"),
}
COLOURS = ("black", "white", "red", "blue", "green", "yellow", "grey", "brown", "pink", "orange")
DAYS = 365


def purchases(customers: int = 2_000, seed: int = 0) -> pd.DataFrame:
    """A row for each purchase: customer, article, bought_at.

    There are 200 articles, as "red mug". A customer buys 8 to 29 of them, mostly of one or two departments and of two
    colours, which differ from customer to customer. Some articles sell more than others.
    """
    rng = np.random.default_rng(seed)
    articles = [(where, colour, kind) for where, kinds in KINDS.items() for kind in kinds for colour in COLOURS]
    departments, colours, _ = (np.array(column) for column in zip(*articles, strict=True))
    names = np.array([f"{colour} {kind}" for _, colour, kind in articles])
    popularity = rng.permutation(1 / np.arange(1, len(names) + 1) ** 0.5)
    frames = []
    for customer in range(customers):
        liked = np.isin(departments, rng.choice(list(KINDS), rng.integers(1, 3), replace=False))
        worn = np.isin(colours, rng.choice(COLOURS, 2, replace=False))
        weights = popularity * np.where(liked, 10, 1) * np.where(worn, 10, 1)
        bought = rng.choice(names, rng.integers(8, 30), replace=False, p=weights / weights.sum())
        minutes = rng.integers(0, DAYS * 24 * 60, len(bought))
        frames.append(pd.DataFrame({"customer": f"c{customer:04d}@example.org", "article": bought, "minute": minutes}))
    table = pd.concat(frames, ignore_index=True)
    table["bought_at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(table.pop("minute"), unit="min")
    return table.sort_values("bought_at", ignore_index=True)
