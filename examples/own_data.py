"""A data set of your own: from a CSV file, from a sparse matrix, and prepared once on disk by `data_prep`.

    python -m examples.own_data

Takes about 3 seconds; nothing is trained. Expect 398 training users, 200 items and 5,864 interactions
three times.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from data_prep.__main__ import main as data_prep
from examples.shop import purchases
from recsys_core import Dataset


def write_csv(path: Path) -> None:
    """A file as other programs export it: semicolons, names of its own, ratings of 1 to 5, a line for each purchase."""
    table = purchases(customers=500)
    table["stars"] = 1 + table.index % 5
    table["client"], _ = table["customer"].factorize(sort=True)
    table["product"], _ = table["article"].factorize(sort=True)
    table.to_csv(path, sep=";", index=False)


def describe(name: str, data: Dataset) -> None:
    """Print the size of a data set."""
    held_out = f"{data.held_out('test').n_users} test users" if data.is_split else "not split"
    interactions = f"{len(data.train.indices):,} interactions"
    print(f"{name}: {data.n_users} training users, {data.n_items} items, {interactions}, {held_out}")


def main() -> None:
    """Make a data set in three ways."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sales.csv"
        write_csv(file)
        # 1. In memory: read and filter with pandas as you like. Every row that is left is an interaction.
        table = pd.read_csv(file, sep=";", parse_dates=["bought_at"])
        liked = table[table["stars"] > 1]
        in_memory = Dataset.from_frame(liked, user="customer", item="article", time="bought_at")
        describe("from_frame", in_memory.split("users", held_out=50))
        # 2. A matrix of users and items; ids are optional.
        matrix = sp.csr_matrix(([1.0] * len(liked), (liked["client"], liked["product"])))
        describe("from_csr", Dataset.from_csr(matrix).split("users", held_out=50))
        # 3. On disk, for large data and for the commands. Ids are whole numbers; the file has commas and plain names.
        liked.to_csv(file, columns=["client", "product", "stars"], index=False)
        columns = ["--user-column", "client", "--item-column", "product", "--rating-column", "stars"]
        out = ["--threshold", "1", "--held-out-users", "50", "--out", f"{folder}/sales"]
        data_prep(["csv", "--raw", str(file), *columns, *out])
        describe("data_prep", Dataset.open(f"{folder}/sales"))


if __name__ == "__main__":
    main()
