"""Filtering and splitting: the paper's rules on small data, checked with sets; what the default protocol promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.encode.events import FILE, ITEM
from data_prep.encode.gather import Part, in_memory
from data_prep.encode.ids import encoded
from data_prep.split.filters import filtered
from data_prep.split.result import Split
from data_prep.split.rules import SplitRules
from data_prep.split.users import split

from .conftest import MATRICES, Prepared, Row, random_rows, write_csv


def positives(rows: list[Row]) -> dict[int, set[int]]:
    """User -> items rated above 3.5, for users with at least five."""
    by_user: dict[int, set[int]] = {}
    for u, i, r in rows:
        if r > 3.5:
            by_user.setdefault(u, set()).add(i)
    return {u: items for u, items in by_user.items() if len(items) >= 5}


def test_the_rules_of_the_paper(prepare: Any, tmp_path: Path) -> None:
    rows = random_rows(120)
    data: Prepared = prepare("csv", "--raw", write_csv(tmp_path / "r.csv", rows), "--held-out-users", "8")
    kept = positives(rows)
    train = data.pairs("train")
    assert {u for s in ("train", "valid", "test") for u in data.users(s)} == set(kept)
    assert len(data.users("valid")) == len(data.users("test")) == 8
    assert train == {(u, i) for u in data.users("train") for i in kept[u]}
    item_set = {i for _, i in train}
    assert set(data.items["item_id"]) == item_set
    for name in ("valid", "test"):
        fold_in, fold_out = data.pairs(f"{name}.fold_in"), data.pairs(f"{name}.fold_out")
        assert not fold_in & fold_out
        assert fold_in | fold_out == {(u, i) for u in data.users(name) for i in kept[u] & item_set}
        for u in data.users(name):
            n = len(kept[u] & item_set)
            assert sum(v == u for v, _ in fold_out) == (int(0.2 * n) if n >= 5 else 0)


def test_row_order_does_not_matter(prepare: Any, tmp_path: Path) -> None:
    rows = random_rows()
    one = prepare("csv", "--raw", write_csv(tmp_path / "a.csv", rows), out="a")
    two = prepare("csv", "--raw", write_csv(tmp_path / "b.csv", sorted(rows)), out="b")
    assert all(one.pairs(m) == two.pairs(m) for m in MATRICES)


def test_seeds_give_other_splits_and_repeat(prepare: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", random_rows())
    first, again, other = (
        prepare("csv", "--raw", raw, "--seed", seed, out=out) for seed, out in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert first.content() == again.content()
    assert first.users("test") != other.users("test")


def test_duplicates_are_kept_once_and_counted(prepare: Any, tmp_path: Path) -> None:
    rows = [(u, i, 5.0) for u, i, _ in random_rows()]
    plain = prepare("csv", "--raw", write_csv(tmp_path / "a.csv", rows), out="a")
    doubled = prepare("csv", "--raw", write_csv(tmp_path / "b.csv", rows + rows[:30]), out="b")
    assert all(plain.pairs(m) == doubled.pairs(m) for m in MATRICES)
    assert doubled.manifest["counts"]["duplicates_dropped"] == 30
    assert any("30 repeated" in w for w in doubled.manifest["warnings"])


def divided(rows: list[tuple[int, int]], rules: SplitRules) -> Split:
    users, items = np.array(rows, np.int32).T
    order = FILE if rules.protocol == "liang2018" else ITEM
    part = Part(users=users, items=items, values=None, times=None)
    return split(filtered(in_memory([part], rule="any", threshold=0.0, order=order), rules), rules)


@pytest.mark.parametrize("protocol", ["default", "liang2018"])
def test_many_duplicates_of_one_pair(protocol: str) -> None:
    """More repetitions than a byte can count must not make the pair vanish."""
    rows = [(u, i) for u in range(6) for i in range(5)] + [(0, 0)] * 1000
    done = divided(rows, SplitRules(protocol=protocol, held_out_users=1))
    assert (done.counts["events"], done.counts["duplicates_dropped"]) == (30, 1000)


def test_rare_items_are_dropped_first() -> None:
    # item 9 is rare; without it user 3 has four items and goes too
    rows = [(u, i) for u in range(3) for i in range(5)] + [(3, i) for i in (0, 1, 2, 3, 9)]
    done = divided(rows, SplitRules(min_item_users=2, held_out_users=1))
    assert (done.counts["users"], done.counts["items"]) == (3, 5)


@pytest.mark.parametrize("ids", [[5, 1, 5, 0], [10**12, 3, 10**12, 7], [0], [-3, 2**63 - 1, -(2**63), -3]])
def test_whole_numbers_are_numbered_by_size(ids: list[int]) -> None:
    codes, table = encoded(np.array(ids), (), "user")
    assert table.ids.to_pylist() == sorted(set(ids))
    assert table.ids.take(codes).to_pylist() == ids


def test_titles_and_counts(prepare: Any, tmp_path: Path) -> None:
    rows = [(u, i, 5.0) for u, i, _ in random_rows()]
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ratings.dat").write_text("".join(f"{u}::{i}::{int(r)}::9\n" for u, i, r in rows))
    names = "".join(f"{i}::Café, the {i}th: part (19{i:02d})::Drama\n" for i in range(1, 26) if i != 7)
    (folder / "movies.dat").write_bytes(names.encode("latin-1"))
    items = prepare("ml-1m", "--raw", folder).items.set_index("item_id")
    assert items.loc[3, "title"] == "Café, the 3th: part (1903)"
    assert items["title"].isna().sum() == 1
    assert items["count"].sum() == len(Prepared(tmp_path / "out").pairs("train"))
