"""A linear model over histories, as an engine and as the part of an export that a batch reads; no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from serving.export_folder import Arrays


class LinearEngine:
    """Scores are sums of the rows of a matrix; what is in the history is hidden, as in the exported graphs."""

    outputs = frozenset({"items", "scores", "all_scores"})

    def __init__(self, weights: npt.NDArray[np.float32], k: int) -> None:
        """
        Args:
            weights: [I, I]
        """
        self._weights, self._k = np.vstack([weights, np.zeros(weights.shape[1], np.float32)]), k
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = ("items", "scores")) -> Arrays:
        item_ids = inputs["item_ids"]
        self.shapes.append(item_ids.shape)
        scores = self._weights[item_ids].sum(axis=1)
        for row, own in enumerate(item_ids):
            scores[row, own[own < scores.shape[1]]] = -np.inf
        if tuple(outputs) == ("all_scores",):
            return {"all_scores": scores}
        items = np.argsort(-scores, axis=1, kind="stable")[:, : self._k].astype(np.int32)
        best = np.take_along_axis(scores, items, axis=1)
        return {"items": np.where(best == -np.inf, -1, items), "scores": best}


class Items:
    """The properties of an export that a `Scorer` and the readers of files use."""

    def __init__(self, folder: Path, item_ids: list[object], user_type: type) -> None:
        from serving.ids import IdTypes

        self.folder = folder
        self.n_items = self.top_k = len(item_ids)
        self.id_types = IdTypes(user=user_type, item=type(item_ids[0]))  # type: ignore[arg-type]
        self.item_ids = np.array(item_ids, np.int64 if isinstance(item_ids[0], int) else object)
        self.items = pd.DataFrame({"count": np.arange(len(item_ids), 0, -1)})
        self.knows_users = False
