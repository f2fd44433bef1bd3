"""Runs many requests in blocks of similar history length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from serving.engines.engine import Engine
from serving.engines.outputs import RANKED
from serving.export_folder import Arrays

BLOCK = 128
"""Largest number of requests in a block."""
SHORT = 64
"""Histories of up to this length may share a block, however short the shortest is."""


def _block_bounds(lengths: npt.NDArray[np.int64], block: int) -> list[tuple[int, int]]:
    """Start and end of each block of at most `block` requests.

    In a block, the longest history has at most twice the length of the shortest, or at most SHORT items.

    Args:
        lengths: [B] history lengths, ascending.
    """
    bounds, start = [], 0
    while start < len(lengths):
        longest = max(2 * int(lengths[start]), SHORT)
        end = min(start + block, int(np.searchsorted(lengths, longest, side="right")))
        bounds.append((start, end))
        start = end
    return bounds


def in_blocks(
    engine: Engine,
    inputs: Mapping[str, npt.NDArray],
    padding: int,
    block: int = BLOCK,
    outputs: Sequence[str] = RANKED,
) -> Arrays:
    """The answers to many requests, in the order of the requests.

    Requests with histories of similar length share a block, so that a block holds little padding.

    Args:
        padding: the item id that fills up the rows of item_ids.
        block: largest number of requests that the engine takes at once.
        outputs: names of the outputs to compute.
    """
    lengths = (inputs["item_ids"] != padding).sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for start, end in _block_bounds(lengths[order], block):
        rows = order[start:end]
        block_inputs = {name: values[rows] for name, values in inputs.items()}
        block_inputs["item_ids"] = block_inputs["item_ids"][:, : max(int(lengths[rows].max()), 1)]
        parts.append(engine(block_inputs, outputs))
    original_order = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[original_order] for name in parts[0]}


class EngineInBlocks:
    """An engine that takes any number of requests and gives them to another one in blocks."""

    def __init__(self, engine: Engine, padding: int, block: int = BLOCK) -> None:
        """See `in_blocks`."""
        self._engine, self._padding, self._block = engine, padding, block
        self.outputs = engine.outputs

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = RANKED) -> Arrays:
        return in_blocks(self._engine, inputs, self._padding, self._block, outputs)
