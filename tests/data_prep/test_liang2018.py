"""Does ``--protocol liang2018`` give the published split?

Here lives a second, independent computation of the split of Liang et al. 2018 ("Variational Autoencoders for
Collaborative Filtering", notebook VAE_ML20M_WWW2018.ipynb of dawenl/vae_cf), written with plain pandas from the
procedure and sharing nothing with data_prep. What the command writes is compared with it user for user and item for
item, on the real ml-latest-small where it is at hand and on generated ratings everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.__main__ import main

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SEED = 98765
MATRICES = ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out")
USERS = 300
CATALOGUE = np.arange(40) * 7 + 3  # items that anybody may like
PRIVATE = 100_000  # ids from here on belong to items that a single user rates
STARS = np.arange(1, 11) / 2

Rows = dict[int, list[int]]


@dataclass(frozen=True)
class Split:
    """A split: ids in the order of their indices, and for each matrix the ascending item indices of each user."""

    users: dict[str, list[int]]
    items: list[int]
    rows: dict[str, Rows]


# --- the published procedure ---


def kept_events(raw: pd.DataFrame) -> pd.DataFrame:
    """Ratings above 3.5 of the users who have at least five of them, in file order."""
    liked = raw[raw["rating"] > 3.5]
    activity = liked.groupby("userId").size()
    return liked[liked["userId"].isin(activity.index[activity >= 5])]


def permuted_users(events: pd.DataFrame, held_out: int) -> dict[str, list[int]]:
    ascending = np.sort(events["userId"].unique())
    shuffled = ascending[np.random.RandomState(SEED).permutation(ascending.size)]
    first_valid, first_test = shuffled.size - 2 * held_out, shuffled.size - held_out
    pieces = {"train": shuffled[:first_valid], "valid": shuffled[first_valid:first_test], "test": shuffled[first_test:]}
    return {name: users.tolist() for name, users in pieces.items()}


def fold(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fold-in and fold-out events: one random stream, users ascending, each user's events in file order."""
    random = np.random.RandomState(SEED)
    hidden = pd.Series(False, index=events.index)
    for _, group in events.groupby("userId"):
        if len(group) >= 5:
            chosen = random.choice(len(group), size=int(0.2 * len(group)), replace=False)
            hidden.loc[group.index[chosen]] = True
    return events[~hidden], events[hidden]


def rows_of_events(events: pd.DataFrame, users: list[int], show2id: dict[int, int]) -> Rows:
    rows: Rows = {user: [] for user in users}
    for user, item in zip(events["userId"].tolist(), events["movieId"].tolist(), strict=True):
        rows[user].append(show2id[item])
    return {user: sorted(items) for user, items in rows.items()}


def published_split(raw: pd.DataFrame, held_out: int) -> Split:
    events = kept_events(raw)
    users = permuted_users(events, held_out)
    train = events[events["userId"].isin(users["train"])]
    items = pd.unique(train["movieId"]).tolist()
    show2id = {item: index for index, item in enumerate(items)}
    rows = {"train": rows_of_events(train, users["train"], show2id)}
    for part in ("valid", "test"):
        mine = events[events["userId"].isin(users[part]) & events["movieId"].isin(items)]
        for name, folded in zip(("fold_in", "fold_out"), fold(mine), strict=True):
            rows[f"{part}.{name}"] = rows_of_events(folded, users[part], show2id)
    return Split(users, items, rows)


# --- what the command writes ---


def users_written(out: Path) -> dict[str, list[int]]:
    table = pd.read_parquet(out / "users.parquet").sort_values("index")
    return {str(split): group["user_id"].tolist() for split, group in table.groupby("split")}


def rows_written(out: Path, matrix: str, users: list[int]) -> Rows:
    indptr, indices = np.load(out / f"{matrix}.indptr.npy"), np.load(out / f"{matrix}.indices.npy")
    assert len(indptr) == len(users) + 1
    assert (indptr[0], indptr[-1]) == (0, len(indices))
    return {user: indices[indptr[k] : indptr[k + 1]].tolist() for k, user in enumerate(users)}


def written_split(folder: Path, out: Path, held_out: int) -> Split:
    words = ["ml-latest-small", "--raw", folder, "--out", out, "--protocol", "liang2018", "--held-out-users", held_out]
    assert main([str(word) for word in words]) == 0
    users = users_written(out)
    items = pd.read_parquet(out / "items.parquet").sort_values("index")
    assert items["index"].tolist() == list(range(len(items)))
    rows = {matrix: rows_written(out, matrix, users[matrix.split(".")[0]]) for matrix in MATRICES}
    return Split(users, items["item_id"].tolist(), rows)


def assert_same(ours: Split, published: Split) -> None:
    assert ours.users == published.users
    assert ours.items == published.items
    assert set(ours.rows) == set(published.rows) == set(MATRICES)
    for matrix in MATRICES:
        differing = {
            user: (ours.rows[matrix][user], row)
            for user, row in published.rows[matrix].items()
            if ours.rows[matrix][user] != row
        }
        assert differing == {}, f"{matrix}: {len(differing)} users differ (user: ours, published)"


# --- generated ratings ---


def rated_items(random: np.random.Generator, number: int) -> np.ndarray:
    """Items of one user: many from the catalogue, or few and mostly or only the user's own."""
    private = PRIVATE + 20 * number + np.arange(7)
    sizes = {"usual": (int(random.integers(5, 30)), 1), "rare": (int(random.integers(1, 5)), 5), "alone": (0, 7)}
    common, own = sizes[str(random.choice(list(sizes), p=[0.7, 0.2, 0.1]))]
    return np.concatenate([random.choice(CATALOGUE, size=common, replace=False), private[:own]])


def generated_ratings(seed: int) -> pd.DataFrame:
    """Rows in random order: users neither contiguous nor ascending, most ratings above 3.5, some exactly 3.5."""
    random = np.random.default_rng(seed)
    ids = random.choice(10_000, size=USERS, replace=False)
    items = [rated_items(random, number) for number in range(USERS)]
    rows = pd.DataFrame({"userId": np.repeat(ids, [len(own) for own in items]), "movieId": np.concatenate(items)})
    weights = np.where(STARS > 3.5, 9, 1)
    rows["rating"] = random.choice(STARS, size=len(rows), p=weights / weights.sum())
    rows["timestamp"] = random.integers(10**9, 2 * 10**9, size=len(rows))
    return rows.iloc[random.permutation(len(rows))].reset_index(drop=True)


def held_out_sizes(split: Split) -> list[int]:
    """How many events each held-out user has left once the items that nobody trained on are gone."""
    return [
        len(split.rows[f"{part}.fold_in"][user]) + len(split.rows[f"{part}.fold_out"][user])
        for part in ("valid", "test")
        for user in split.users[part]
    ]


def assert_covers_the_hard_cases(raw: pd.DataFrame, split: Split) -> None:
    events = kept_events(raw)
    sizes = held_out_sizes(split)
    assert not raw["userId"].is_monotonic_increasing
    assert (raw["rating"] == 3.5).any()
    assert events["userId"].nunique() < raw["userId"].nunique(), "no user is dropped for too few events"
    assert set(events["movieId"]) - set(split.items), "no item is only in held-out users"
    assert any(size == 0 for size in sizes), "no held-out user lost every item"
    assert any(0 < size < 5 for size in sizes), "no held-out user is left with 1 to 4 items"
    assert any(size >= 10 for size in sizes), "no held-out user has several items to be found"


# --- tests ---


def test_real_ratings_split_as_published(tmp_path: Path) -> None:
    folder = SHARED_DATA / "ml-latest-small"
    if not (folder / "ratings.csv").is_file():
        pytest.skip(f"no {folder / 'ratings.csv'}: MovieLens may not be redistributed, docs/data.md says where it is")
    published = published_split(pd.read_csv(folder / "ratings.csv"), held_out=50)
    assert_same(written_split(folder, tmp_path / "out", held_out=50), published)


@pytest.mark.parametrize("held_out", [20, 50, 110])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_unsorted_ratings_split_as_published(tmp_path: Path, seed: int, held_out: int) -> None:
    raw = generated_ratings(seed)
    raw.to_csv(tmp_path / "ratings.csv", index=False)
    published = published_split(raw, held_out)
    assert_covers_the_hard_cases(raw, published)
    assert_same(written_split(tmp_path, tmp_path / "out", held_out), published)
