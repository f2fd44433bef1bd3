"""The store of a prepared data set: the histories, users and rows that training sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys_core import user_histories
from recsys_core.dataset import Dataset
from serving.__main__ import main
from serving.histories.dataset import DatasetStore
from serving.histories.events import Event, ReadOnlyStoreError
from serving.histories.store import open_store


@pytest.mark.parametrize("fixture", ["tiny_data", "tiny_pairs"])
@pytest.mark.parametrize("view", ["", "all-users"])
def test_histories_are_all_that_users_have(fixture: str, view: str, request: pytest.FixtureRequest) -> None:
    """Held-out users (tiny_data) and held-out items of training users (tiny_pairs) included."""
    folder: Path = request.getfixturevalue(fixture)
    data = Dataset.open(folder).viewed(view)
    items = data.items["item_id"].to_numpy()
    users, expected = user_histories.users(data)["user_id"].tolist(), user_histories.histories(data)
    store = open_store(str(folder), view=view)
    assert [user for block in store.users(block=7) for user in block] == users
    for row, history in enumerate(store.histories(users)):
        assert history is not None and sorted(history) == sorted(items[expected[row].indices].tolist())
    assert store.histories([-1, users[0]])[0] is None
    assert store.rows(users, data.user_digest) == [k if k < data.n_users else None for k in range(len(users))]
    with pytest.raises(ValueError, match="does not hold the users that the model was trained on"):
        store.rows(users, "another")


def test_it_is_read_only(tiny_data: Path) -> None:
    store = open_store(str(tiny_data))
    assert store.read_only
    for change in (lambda: store.append([Event(1, 1)]), lambda: store.forget([1])):
        with pytest.raises(ReadOnlyStoreError, match="is a prepared data set, which never changes; load it"):
            change()


def test_loading_gives_the_same_histories(tiny_data: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    for new in (True, False):
        assert main(["histories", "load", "--data", str(tiny_data), "--store", address]) == 0
        assert (", 0 events were new" in capsys.readouterr().out) is not new
    source, store = DatasetStore.open(tiny_data), open_store(address)
    users = source.user_ids.tolist()
    assert [set(h or ()) for h in store.histories(users)] == [set(h or ()) for h in source.histories(users)]
    assert {u for block in store.users() for u in block} == set(users)
    assert store.rows(users, source.data.user_digest) == source.rows(users, source.data.user_digest)
    assert store.id_types is not None and store.id_types.user is type(users[0])


def test_the_command_adds_shows_and_forgets(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--store", address, "--user", "9007199254740993"]  # no float64
    assert main(["histories", "add", *flags, "--items=-5,7,9", "--time", "100"]) == 0
    assert "3 of 3 events were new" in capsys.readouterr().out
    assert main(["histories", "add", *flags, "--items", "7"]) == 0
    capsys.readouterr()
    assert main(["histories", "show", *flags, "--json"]) == 0
    assert capsys.readouterr().out == '{"user": 9007199254740993, "items": [-5, 9, 7]}\n'
    assert main(["histories", "forget", *flags]) == 0
    assert "all that was known is deleted" in capsys.readouterr().out
    assert main(["histories", "show", *flags]) == 1
    assert main(["histories", "forget", *flags]) == 1
    capsys.readouterr()
    assert main(["histories", "add", "--store", address, "--user", "ann", "--items", "1"]) == 2
    assert capsys.readouterr().err == (
        "error: --user is 'ann', expected a whole number as the other ids of this store\n"
    )


def test_other_ids_are_not_loaded(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"sqlite:///{tmp_path / 'h.db'}"
    assert main(["histories", "add", "--store", address, "--user", "ann", "--items", "a", "--text-ids"]) == 0
    assert main(["histories", "load", "--data", str(tiny_data), "--store", address]) == 2
    assert "are whole numbers, those of sqlite" in capsys.readouterr().err


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["histories", "load", "--data", "nowhere", "--store", f"sqlite:///{tmp_path / 'h.db'}"]) == 2
    assert "--data nowhere is no folder" in capsys.readouterr().err
    assert not (tmp_path / "h.db").exists()


def test_a_user_without_held_out_items_has_no_others(tiny_pairs: Path) -> None:
    store = DatasetStore.open(tiny_pairs)
    lengths = [len(h or ()) for h in store.histories(store.user_ids.tolist())]
    held_out = sum(store.data.held_out(split).fold_out.indptr[-1] for split in ("valid", "test"))
    assert sum(lengths) == len(store.data.train.indices) + held_out
    assert np.min(lengths) > 0
