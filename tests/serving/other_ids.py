"""Copies of an export whose data set has other ids or titles. Only its two tables hold original ids."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd


def copy(
    export: Path,
    target: Path,
    *,
    user: Callable[[int], Any] = int,
    item: Callable[[int], Any] = int,
    titles: Sequence[str] = (),
) -> Path:
    """Copy an export; returns the copy.

    Args:
        user, item: new id of each old one.
        titles: of the first items; the others have none.
    """
    shutil.copytree(export, target)
    users, items = (pd.read_parquet(export / f"{name}.parquet") for name in ("users", "items"))
    users["user_id"] = [user(u) for u in users["user_id"]]
    items["item_id"] = [item(i) for i in items["item_id"]]
    if titles:
        items["title"] = [*titles, *[None] * (len(items) - len(titles))]
    users.to_parquet(target / "users.parquet", index=False)
    items.to_parquet(target / "items.parquet", index=False)
    return target
