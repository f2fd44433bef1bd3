"""How much lower a recommended item would score without each item of the history.

Exact for linear models: the differences are the weights from the items of the history, and they add up to the score.
Other models are asked again, once for each item of the history, without it; all of these requests go through the engine
in blocks. The differences of such a model need not add up to its score.

Shape legend: L items of the history, k recommended items, I items, B requests of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.engines.engine import Engine
from serving.engines.outputs import ALL_SCORES
from serving.export_folder import ExportFolder
from serving.reasons.linear import is_linear

MOST = 200
"""Largest number of items of a history that are left out, one at a time: the latest."""
BLOCK_BYTES = 1 << 26
"""Memory of the scores of a block."""
LARGEST_BLOCK = 128
"""Largest number of requests in a block."""


@dataclass(frozen=True, kw_only=True)
class Reasons:
    """How much lower each recommended item would score without each item of the history."""

    items: npt.NDArray[np.int32]
    """[L] indices of the items of the history, in its order; the latest MOST of a longer history."""
    lower_by: npt.NDArray[np.float32]
    """[k, L] below 0 where the item would score higher without it."""

    def strongest(self, place: int, count: int) -> list[tuple[int, float]]:
        """The items of the history without which a recommended item would score lowest, and by how much.

        Args:
            place: of the recommended item, from 0.
            count: largest number of items in the answer; only those that raise the score are in it.
        """
        lower_by = self.lower_by[place]
        order = np.argsort(-lower_by, kind="stable")[:count]
        return [(int(self.items[k]), float(lower_by[k])) for k in order if lower_by[k] > 0]


NOT_FROM_HISTORIES = (
    "this model ranks items for the users that it was trained on, not from histories: it has no reasons"
)


def require_histories(export: ExportFolder) -> None:
    """Raise ValueError if the model does not score histories."""
    if export.knows_users:
        raise ValueError(NOT_FROM_HISTORIES)


def why_not(export: ExportFolder, engine: Engine) -> str | None:
    """Why there are no reasons with this model, in one line; None if there are."""
    if export.knows_users:
        return NOT_FROM_HISTORIES
    if ALL_SCORES not in engine.outputs:
        return "this model was made before reasons were added: it gives only its best items; train and convert again"
    return None


class Explainer:
    """Finds the reasons for recommendations."""

    def __init__(self, export: ExportFolder, engine: Engine, history_limit: int | None = None) -> None:
        """
        Args:
            engine: runs the signature `serving`, or one with the same inputs and outputs.
            history_limit: largest number of items that the engine takes; it gets the latest of a longer history.

        Raises:
            ValueError: the model does not score histories, or does not give the scores of all items.
        """
        if (reason := why_not(export, engine)) is not None:
            raise ValueError(reason)
        self._engine, self._n_items, self._limit = engine, export.n_items, history_limit
        self._is_linear = is_linear(export)

    def explain(
        self,
        history: npt.NDArray[np.int32],
        recommended: npt.NDArray[np.int32],
        before_block: Callable[[], None] = lambda: None,
    ) -> Reasons:
        """
        Args:
            history: [L] indices of the user's items, the latest last.
            recommended: [k] indices of items that the history does not hold.
            before_block: called before each block; it may raise an exception to stop.
        """
        history = history if self._limit is None else history[-self._limit :]
        items = history[-MOST:]
        if not len(items) or not len(recommended):
            return Reasons(items=items, lower_by=np.zeros((len(recommended), len(items)), np.float32))
        if self._is_linear:
            return Reasons(items=items, lower_by=self._scores(items[:, None], recommended, before_block).T)
        requests = np.tile(history, (len(items) + 1, 1))  # the last row leaves nothing out
        left_out = np.arange(len(items))
        requests[left_out, len(history) - len(items) + left_out] = self._n_items
        scores = self._scores(requests, recommended, before_block)
        return Reasons(items=items, lower_by=(scores[-1] - scores[:-1]).T)

    def _scores(
        self, requests: npt.NDArray[np.int32], wanted: npt.NDArray[np.int32], before_block: Callable[[], None]
    ) -> npt.NDArray[np.float32]:
        """[B, k] scores of the wanted items for requests int32 [B, L], padded with I."""
        block = max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * self._n_items)))
        parts = []
        for start in range(0, len(requests), block):
            before_block()
            found = self._engine({"item_ids": requests[start : start + block]}, (ALL_SCORES,))[ALL_SCORES]
            parts.append(found[:, wanted])
        return np.concatenate(parts)
