"""Random requests with constraints, and what their answers have to be, said a second time in plain sets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from serving.export_folder import ExportFolder, padding_id
from serving.recommend.answers import ERROR, MODEL, POPULAR, Recommendation

FUZZED = int(os.environ.get("RECSYS_FUZZED_REQUESTS", "600"))
"""Requests of each fuzz run; a thorough one makes 10,000."""
BATCH = 24
WHERE = {
    "": lambda items: items["count"] >= 0,
    "count > 8": lambda items: items["count"] > 8,
    "count between 3 and 9 or count = 1": lambda items: items["count"].between(3, 9) | (items["count"] == 1),
    "not count in (2, 3, 4)": lambda items: ~items["count"].isin([2, 3, 4]),
    "count < 0": lambda items: items["count"] < 0,
}
"""Filters and the same in pandas."""
NO_FILTERS = ("count >", "select 1", "nothing = 3", "count = 'x'", "read_csv('/etc/passwd') = 1", "(" * 200)


@dataclass(frozen=True, kw_only=True)
class World:
    """An export, and what is known of its users and items by reading the files ourselves."""

    ids: list[Any]
    has: dict[Any, set[Any]]
    items: pd.DataFrame
    needs_user: bool

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """A request of the ids' own types, that may be refused for its k or its filter."""

        def some(share: float, most: int) -> list[Any]:
            if rng.random() > share:
                return []
            count = int(rng.choice([1, 3, 10, most]))
            known = [self.ids[k] for k in rng.integers(0, len(self.ids), min(count, len(self.ids)))]
            return known if rng.random() < 0.7 else [*known, self.stranger(rng)]

        users = list(self.has)
        user = users[int(rng.integers(len(users)))] if rng.random() < 0.6 else None
        where = str(rng.choice(list(WHERE))) if rng.random() < 0.5 else ""
        return {
            "user_id": self.stranger(rng) if rng.random() < 0.1 else user,
            "item_ids": some(0.5, 2 * len(self.ids)) if rng.random() < 0.97 else list(self.ids),
            "k": int(rng.choice([1, 2, 10, 100, 101, len(self.ids), rng.integers(-5, 2 * len(self.ids))])),
            "deny": some(0.3, len(self.ids)),
            "allow": some(0.4, len(self.ids)) or None,
            "where": str(rng.choice(NO_FILTERS)) if rng.random() < 0.05 else where,
        }

    def stranger(self, rng: np.random.Generator) -> Any:
        """An id that nothing has."""
        number = int(rng.integers(2**40, 2**50))
        return number if isinstance(self.ids[0], int) else f"x{number}"

    def is_good(self, words: dict[str, Any]) -> bool:
        return 1 <= words["k"] <= len(self.ids) and words["where"] in WHERE

    def allowed(self, words: dict[str, Any]) -> set[Any]:
        """The items that may be recommended."""
        fits = WHERE[words["where"]](self.items)
        left = set(self.items["item_id"][fits].tolist()) - self.has.get(words["user_id"], set())
        left -= {*words["item_ids"], *words["deny"]}
        return left if words["allow"] is None else left & set(words["allow"])

    def check(self, words: dict[str, Any], answer: Recommendation) -> None:
        """A refused request has the reason; every other has as many items as there can be, and only allowed ones."""
        if not self.is_good(words):
            assert answer.source == ERROR and answer.note and not len(answer.item_ids), (words, answer)
            return
        known = words["user_id"] in self.has
        named = known if self.needs_user else known or set(words["item_ids"]) & set(self.ids)
        items, allowed = answer.item_ids.tolist(), self.allowed(words)
        assert answer.source == (MODEL if named else POPULAR), words
        assert len(items) == min(words["k"], len(allowed)), (words, answer.note)
        assert len(set(items)) == len(items) == len(answer.scores) == len(answer.titles)
        assert set(items) <= allowed
        assert np.isfinite(answer.scores).all() and (np.diff(answer.scores) <= 0).all()
        assert len(items) == words["k"] or answer.note, "an answer that is short says why"


def world_of(export: ExportFolder) -> World:
    with np.load(export.folder / "histories.npz") as file:
        indptr, owned = file["indptr"], file["item_ids"]
    ids = export.item_ids.tolist()
    pairs = zip(export.users["row"], pd.read_parquet(export.folder / "users.parquet")["user_id"], strict=True)
    has = {user: {ids[k] for k in owned[indptr[row] : indptr[row + 1]]} for row, user in pairs}
    items = export.items.assign(item_id=pd.Series(ids, dtype=object))
    return World(ids=ids, has=has, items=items, needs_user=export.knows_users)


def as_tensors(
    requests: Sequence[dict[str, Any]], numbers: bool, below_zero: bool = False
) -> dict[str, np.ndarray | None]:
    """The input arrays of a batch, its lists padded."""

    padding = padding_id(int, below_zero)

    def column(name: str) -> np.ndarray:
        rows = [r[name] if isinstance(r[name], list) else [] if r[name] is None else [r[name]] for r in requests]
        width = max(1, *map(len, rows))
        if numbers and name != "where":
            return np.array([[*row, *[padding] * (width - len(row))] for row in rows], np.int64)
        return np.array([[*(str(v).encode() for v in row), *[b""] * (width - len(row))] for row in rows], object)

    arrays: dict[str, np.ndarray | None] = {n: column(n) for n in ("user_id", "item_ids", "deny", "allow", "where")}
    return {**arrays, "k": np.array([[r["k"]] for r in requests], np.int32), "titles": None}
