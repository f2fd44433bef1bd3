"""The preparation in the way of the published notebook (pandas, row groups in a Python loop), to be measured against.

The steps of Liang et al. 2018: read, rating > 3.5, users with five items, permute, split, fold, number, write CSV.
Not used by anything but the benchmark.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd


def fold(events: pd.DataFrame, share: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide each user's rows, as published: one user after another."""
    np.random.seed(98765)  # noqa: NPY002 - as published
    shown, hidden = [], []
    for _, rows in events.groupby("userId"):
        chosen = np.zeros(len(rows), bool)
        if len(rows) >= 5:
            chosen[np.random.choice(len(rows), size=int(share * len(rows)), replace=False)] = True  # noqa: NPY002
        shown.append(rows[~chosen])
        hidden.append(rows[chosen])
    return pd.concat(shown), pd.concat(hidden)


def main(raw: Path, out: Path, held_out: int) -> None:
    out.mkdir(parents=True)
    table = pd.read_csv(raw)
    table = table[table["rating"] > 3.5]
    per_user = table.groupby("userId").size()
    table = table[table["userId"].isin(per_user.index[per_user >= 5])]
    users = table.groupby("userId").size().index
    np.random.seed(98765)  # noqa: NPY002 - as published
    users = users[np.random.permutation(len(users))]  # noqa: NPY002
    n = len(users)
    train = table[table["userId"].isin(users[: n - 2 * held_out])]
    items = pd.unique(train["movieId"])
    item_number = {item: k for k, item in enumerate(items)}
    user_number = {user: k for k, user in enumerate(users)}
    files = {"train": train}
    for name, part in (("validation", users[n - 2 * held_out : n - held_out]), ("test", users[n - held_out :])):
        events = table[table["userId"].isin(part)]
        events = events[events["movieId"].isin(items)]
        files[f"{name}_tr"], files[f"{name}_te"] = fold(events)
    for name, events in files.items():
        uid = [user_number[u] for u in events["userId"]]
        sid = [item_number[i] for i in events["movieId"]]
        pd.DataFrame({"uid": uid, "sid": sid}).to_csv(out / f"{name}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
