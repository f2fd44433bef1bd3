"""Addresses of stores: which are understood, what messages and files show of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.histories.store import has_password, lasting_address, open_store, shown_address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mysql://host/db", "--store is an address of 'mysql', expected sqlite:///FILE, postgresql:"),
        ("sqlite:///nowhere.db", r"nowhere.db does not exist; fill a store with: python -m serving histories load"),
        ("nowhere", "--store: nowhere does not exist; expected sqlite:///FILE"),
    ],
)
def test_what_is_no_store(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_store(address)


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="is no prepared data set and no database"):
        open_store(str(tmp_path / "text"))
    with pytest.raises(ValueError, match="is no prepared data set"):
        open_store(str(tmp_path))
    with pytest.raises(ValueError, match="is no store of histories .*not a database"):
        open_store(f"sqlite:///{tmp_path / 'text'}")


def test_a_file_is_a_store_by_its_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    open_store(f"sqlite:///{path}", create=True).close()
    assert open_store(str(path)).histories([1]) == [None]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:p%40ss@db:5432/shop", "postgresql://me@db:5432/shop"),
        ("postgresql://me@db/shop?sslmode=require&password=x", "postgresql://me@db/shop?sslmode=require"),
        ("redis://:s3cret@[::1]:6379/2", "redis://[::1]:6379/2"),
        ("rediss://me:x@cache/0?password=y&protocol=3", "rediss://me@cache/0?protocol=3"),
    ],
)
def test_a_password_is_not_shown(address: str, shown: str) -> None:
    pytest.importorskip("psycopg")
    assert shown_address(address) == shown == lasting_address(address)
    assert has_password(address) and not has_password(shown)


def test_paths_that_are_kept_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lasting_address("sqlite:///a/h.db") == f"sqlite:///{tmp_path}/a/h.db"
    assert lasting_address("sqlite:////var/h.db") == "sqlite:////var/h.db"
    assert lasting_address("data/d") == f"{tmp_path}/data/d"
