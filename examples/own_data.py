"""A data set of your own: from a table in memory, from a sparse matrix, and from files, prepared by `data_prep`.

    python -m examples.own_data

Takes about 3 seconds; nothing is trained. Customers are e-mail addresses and articles are names, and answers come back
in these. Expect 398 training users, 200 items and 5,864 interactions three times.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from data_prep.__main__ import main as data_prep
from examples.shop import purchases
from recsys_core import Dataset


def ratings() -> pd.DataFrame:
    """A row for each purchase: customer (an e-mail address), article, bought_at, and stars from 1 to 5."""
    table = purchases(customers=500)
    table["stars"] = 1 + table.index % 5
    return table


def write_files(table: pd.DataFrame, folder: Path) -> None:
    """A compressed file for each month, with semicolons, as other programs export them."""
    folder.mkdir()
    for month, part in table.groupby(table["bought_at"].dt.month):
        part.to_csv(folder / f"purchases-{month:02}.csv.gz", sep=";", index=False)


def describe(name: str, data: Dataset) -> None:
    """Print the size of a data set, and one of its customers and articles."""
    interactions = f"{len(data.train.indices):,} interactions"
    held_out = f"{data.held_out('test').n_users} test users"
    print(f"{name}: {data.n_users} training users, {data.n_items} items, {interactions}, {held_out}")
    print(f"    ids such as {data.users['user_id'].min()!r} and {data.items['item_id'].min()!r}")


def main() -> None:
    """Make a data set in three ways."""
    table = ratings()
    # 1. In memory: the ratings above the threshold are interactions.
    in_memory = Dataset.from_frame(
        table, user="customer", item="article", time="bought_at", rating="stars", threshold=1
    )
    describe("from_frame", in_memory.split("users", held_out=50))
    # 2. A matrix of users and items, and their ids.
    liked = table[table["stars"] > 1]
    rows, customers = liked["customer"].factorize(sort=True)
    columns, articles = liked["article"].factorize(sort=True)
    matrix = sp.csr_matrix(([1.0] * len(liked), (rows, columns)))
    from_matrix = Dataset.from_csr(matrix, user_ids=list(customers), item_ids=list(articles))
    describe("from_csr", from_matrix.split("users", held_out=50))
    # 3. From files, for large data and for the commands: columns, delimiter and compression are found and shown.
    with tempfile.TemporaryDirectory() as folder:
        write_files(table, Path(folder) / "raw")
        out = ["--threshold", "1", "--held-out-users", "50", "--out", f"{folder}/purchases"]
        data_prep(["table", "--raw", f"{folder}/raw", *out])
        describe("data_prep", Dataset.open(f"{folder}/purchases"))


if __name__ == "__main__":
    main()
