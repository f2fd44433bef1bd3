"""What the programs of the other libraries have in common: a clock that stops while lists are written, and the lists.

Such a program runs in a Python of its own, which has the library and NumPy but none of our packages: this file and
those that import it import nothing else of ours. Shape legend: U users, I items, K items of a list.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DEPTH = 100
"""Items of a list."""
BLOCK = 512
"""Users whose scores exist at one time."""

Scores = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""Users [B] -> scores [B, I]."""


class Seen:
    """The interactions of the training, and of training and validation, by user."""

    def __init__(self, file: Path) -> None:
        loaded = np.load(file)
        self.n_items = int(loaded["n_items"])
        self._parts = {name: (loaded[f"{name}_indptr"], loaded[f"{name}_indices"]) for name in ("train", "valid")}
        self.n_users = len(self._parts["train"][0]) - 1

    def matrix(self) -> tuple[npt.NDArray, npt.NDArray]:
        """indptr [U + 1] and indices of the training matrix."""
        return self._parts["train"]

    def hide(self, scores: npt.NDArray[np.float32], users: npt.NDArray[np.int64], names: tuple[str, ...]) -> None:
        """Put the scores [B, I] of what users have to minus infinity."""
        for name in names:
            indptr, indices = self._parts[name]
            for row, user in enumerate(users):
                scores[row, indices[indptr[user] : indptr[user + 1]]] = -np.inf


def best(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """[B, K] the best items of each row, best first."""
    depth = min(DEPTH, scores.shape[1])
    found = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1).astype(np.int32)


class Recorder:
    """Writes, now and then in a training, the lists that the model gives, with the seconds of training so far."""

    def __init__(self, folder: Path, seen: Seen, start: float) -> None:
        """
        Args:
            start: when the program began, by `time.perf_counter`.
        """
        self._folder, self._seen, self._start = folder, seen, start
        self._count, self._paused = 0, 0.0

    def take(self, epoch: int, scores: Scores, **more: Any) -> None:
        """Write the lists for the validation and the test items, and a line about them."""
        now = time.perf_counter()
        lists: dict[str, list[npt.NDArray[np.int32]]] = {"valid": [], "test": []}
        for first in range(0, self._seen.n_users, BLOCK):
            users = np.arange(first, min(first + BLOCK, self._seen.n_users))
            found = np.array(scores(users), np.float32)
            self._seen.hide(found, users, ("train",))
            lists["valid"].append(best(found))
            self._seen.hide(found, users, ("valid",))
            lists["test"].append(best(found))
        name = f"lists-{self._count}.npz"
        np.savez(self._folder / name, **{part: np.concatenate(rows) for part, rows in lists.items()})
        line = {"seconds": now - self._start - self._paused, "epoch": epoch, "lists": name, **more}
        with (self._folder / "curve.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._count += 1
        self._paused += time.perf_counter() - now
