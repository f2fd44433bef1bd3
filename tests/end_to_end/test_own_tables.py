"""A table of one's own, from wherever it lies, to a trained model and recommendations in its own ids."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from examples.shop import purchases
from recsys_core.dataset import Dataset
from tests.conftest import Command
from tests.data_prep.read import postgresql_server

NAMES = {"customer": "customer_email", "article": "sku", "bought_at": "purchased_at"}
WORDS = ("--held-out-users", "40")


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    """Purchases with e-mail addresses, SKUs as text and ISO times."""
    table = purchases(customers=400).rename(columns=NAMES)
    table["sku"] = "SKU-" + table["sku"].str.replace(" ", "_")
    table["purchased_at"] = table["purchased_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return table


@pytest.fixture(scope="module")
def prepared(orders: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, python: Command) -> Path:
    """The data set of three compressed parts, by one command without a flag about columns."""
    folder = tmp_path_factory.mktemp("orders")
    for number, part in enumerate(np.array_split(np.arange(len(orders)), 3)):
        orders.iloc[part].to_csv(folder / f"orders-{number}.csv.gz", index=False)
    done = python("data_prep", "table", "--raw", folder / "orders-*.csv.gz", *WORDS, "--out", folder / "data")
    assert done.returncode == 0, done.stderr
    assert "users: column 'customer_email' (text; another: --user-column)" in done.stdout
    assert "items: column 'sku' (text; another: --item-column)" in done.stdout
    assert "times: column 'purchased_at'" in done.stdout
    return folder / "data"


def arrays(folder: Path) -> dict[str, list[int]]:
    return {path.name: np.load(path).tolist() for path in sorted(folder.glob("*.npy"))}


def same(one: Path, other: Path) -> None:
    assert arrays(one) == arrays(other)
    for name in ("items.parquet", "users.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(one / name), pd.read_parquet(other / name))


def test_a_folder_of_parquet_parts(orders: pd.DataFrame, prepared: Path, tmp_path: Path, python: Command) -> None:
    (tmp_path / "orders").mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(orders)), 4)):
        orders.iloc[part].to_parquet(tmp_path / "orders" / f"part-{number:05d}.snappy.parquet")
    (tmp_path / "orders" / "_SUCCESS").touch()
    done = python("data_prep", "table", "--raw", tmp_path / "orders", *WORDS, "--out", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    same(tmp_path / "data", prepared)


def test_sqlite(orders: pd.DataFrame, prepared: Path, tmp_path: Path, python: Command) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        orders.to_sql("orders", connection, index=False)
    words = ("--database", f"sqlite:///{tmp_path / 'shop.db'}", "--sql", "orders")
    done = python("data_prep", "table", *words, *WORDS, "--out", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    same(tmp_path / "data", prepared)


def test_postgresql(orders: pd.DataFrame, prepared: Path, tmp_path: Path, python: Command) -> None:
    rows = ", ".join(f"('{u}', '{i}', '{t}')" for u, i, t in orders.itertuples(index=False))
    with postgresql_server.running() as place:
        address = f"postgresql://me:{postgresql_server.ENCODED}@{place}"
        table = "CREATE TABLE orders (customer_email text, sku text, purchased_at timestamptz)"
        postgresql_server.execute(address, table, f"INSERT INTO orders VALUES {rows}")
        words = ("--database", address, "--sql", "SELECT customer_email, sku, purchased_at FROM orders")
        done = python("data_prep", "table", *words, *WORDS, "--out", tmp_path / "data")
        assert done.returncode == 0, done.stderr
        assert (
            postgresql_server.PASSWORD not in done.stdout + done.stderr + (tmp_path / "data/manifest.json").read_text()
        )
        same(tmp_path / "data", prepared)
        wrong = python("data_prep", "table", "--database", address.replace("%40", "x"), *words[2:])
    assert wrong.returncode == 2
    assert "password authentication failed" in wrong.stderr
    assert "rd#1" not in wrong.stderr and "rd%231" not in wrong.stderr


def test_a_frame_in_python(orders: pd.DataFrame, prepared: Path) -> None:
    ours = Dataset.from_frame(orders, user="customer_email", item="sku", time="purchased_at")
    ours, theirs = ours.split("users", held_out=40), Dataset.open(prepared)
    for one, other in ((ours.train, theirs.train), *((ours.test.fold_out, theirs.test.fold_out),)):  # type: ignore[union-attr]
        assert one.indptr.tolist() == other.indptr.tolist()
        assert one.indices.tolist() == other.indices.tolist()
    assert ours.items["item_id"].tolist() == theirs.items["item_id"].tolist()
    assert ours.users["user_id"].tolist() == theirs.users["user_id"].tolist()


@pytest.mark.slow
def test_recommendations_by_address_and_sku(
    orders: pd.DataFrame, prepared: Path, tmp_path: Path, python: Command
) -> None:
    run = tmp_path / "run"
    words = ("--preset", "quick", "--epochs", "8", "--gate", "ndcg@100>=0.01", "--baselines", "popularity")
    done = python("vaecf.train", "--data", prepared, "--run-dir", run, *words)
    assert done.returncode == 0, done.stderr
    address = orders["customer_email"].iloc[0]
    done = python("serving", "recommend", "--export", run, "--user", address, "-k", "5", "--json")
    assert done.returncode == 0, done.stderr
    found = [row["id"] for row in json.loads(done.stdout)["items"]]
    assert len(found) == 5
    assert set(found) <= set(orders["sku"]) - set(orders["sku"][orders["customer_email"] == address])
