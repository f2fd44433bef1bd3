"""Finds similar items with an export: the same items as `similar_items` of the model in memory.

Models with item vectors compare them by their cosine; this needs no engine. The similarities of a linear model are its
weights, and these are the scores of a history of one item, which any engine gives.

Shape legend: I items, D width of an item vector, k similar items.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from serving.engines.engine import Engine
from serving.export_folder import ExportFolder
from serving.similar.stored import COSINE, WEIGHTS, method, vectors

SMALLEST_SQUARE = 1e-12
"""Squared length that a vector of zeros is given, as in `tf.math.l2_normalize`."""


class SimilarItems:
    """The most similar items to one."""

    def __init__(self, export: ExportFolder, open_engine: Callable[[], Engine]) -> None:
        """
        Args:
            open_engine: loads the model; it is called for a linear model only, at the first question.

        Raises:
            ValueError: the export cannot tell which items are similar.
        """
        self._export, self._open_engine = export, open_engine
        self._method = method(export)
        self._vectors = vectors(export) if self._method == COSINE else None

    @property
    def needs_engine(self) -> bool:
        """Whether the model itself is run."""
        return self._method == WEIGHTS

    @property
    def largest_k(self) -> int:
        """Largest number of similar items that are found."""
        others = max(self._export.n_items - 1, 1)
        return min(others, self._export.top_k) if self.needs_engine else others

    @cached_property
    def _engine(self) -> Engine:
        return self._open_engine()

    @cached_property
    def _lengths(self) -> npt.NDArray[np.float32]:
        """[I] length of each vector."""
        assert self._vectors is not None
        return np.sqrt(np.maximum(np.einsum("id,id->i", self._vectors, self._vectors), SMALLEST_SQUARE))

    def find(self, item: int, k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """
        Args:
            item: index of the item.
            k: number of similar items.

        Returns:
            items [k] by index, the most similar first, and their similarities [k]; fewer if there are no more items.

        Raises:
            ValueError: `k` is out of range.
        """
        if not 1 <= k <= self.largest_k:
            exported = ", the exported top-k" if self.needs_engine else ""
            raise ValueError(f"k is {k}, expected a whole number from 1 to {self.largest_k}{exported}")
        if self._vectors is None:
            return self._by_weights(item, k)
        similar = self._vectors @ self._vectors[item] / (self._lengths * self._lengths[item])
        similar[item] = -np.inf
        order = np.argsort(-similar, kind="stable")[: min(k, self._export.n_items - 1)].astype(np.int32)
        return order, similar[order].astype(np.float32)

    def _by_weights(self, item: int, k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        answer = self._engine({"item_ids": np.array([[item]], np.int32)})
        items, scores = answer["items"][0][:k], answer["scores"][0][:k]
        return items[items >= 0], scores[items >= 0]
