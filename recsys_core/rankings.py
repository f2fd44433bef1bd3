"""When two rankings are the same. Knows arrays only: what serves a model need not have TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

SCORE_TOLERANCE = 1e-4
"""Relative to max(1, |score|): what two float32 engines may differ by."""


def answers_agree(
    expected: Mapping[str, npt.NDArray], got: Mapping[str, npt.NDArray], tolerance: float = SCORE_TOLERANCE
) -> bool:
    """Whether two rankings are the same: scores within the tolerance, items equal except where scores tie within it.

    A score that is not a number agrees with nothing.
    """
    want, have = expected["scores"], got["scores"]
    if want.shape != have.shape or np.isnan(want).any() or np.isnan(have).any():
        return False
    absent = np.isneginf(want)
    if (absent != np.isneginf(have)).any() or (expected["items"][absent] != got["items"][absent]).any():
        return False
    rows = zip(want, have, expected["items"], got["items"], strict=True)
    return all(_row_agrees(*row, tolerance) for row in rows)


def all_scores_agree(
    expected: npt.NDArray[np.float32], answers: Mapping[str, npt.NDArray], tolerance: float = SCORE_TOLERANCE
) -> bool:
    """Whether the scores of all items [B, I] are the expected ones, and those of the answers' items among them.

    Minus infinity, which stands for what the user has, agrees with every number. A NaN agrees with nothing.

    Args:
        expected: [B, I].
        answers: items [B, K], scores [B, K], all_scores [B, I].
    """
    got, items = answers["all_scores"], answers["items"]
    if expected.shape != got.shape or np.isnan(expected).any() or np.isnan(got).any():
        return False
    given = items >= 0
    pairs = ((expected, got), (np.take_along_axis(got, np.maximum(items, 0), axis=1)[given], answers["scores"][given]))
    return all(_close(one, other, tolerance) for one, other in pairs)


def _close(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], tolerance: float) -> bool:
    """Whether numbers are within the tolerance of each other wherever neither is minus infinity."""
    both = ~np.isneginf(one) & ~np.isneginf(other)
    return bool((np.abs(one[both] - other[both]) <= tolerance * np.maximum(1.0, np.abs(one[both]))).all())


def _row_agrees(want: npt.NDArray, have: npt.NDArray, items: npt.NDArray, found: npt.NDArray, tolerance: float) -> bool:
    """One list [K]: close scores, no item more often, and another item only in place of one that ties with it."""
    real = ~np.isneginf(want)
    want, have, items, found = want[real], have[real], items[real], found[real]
    slack = tolerance * np.maximum(1.0, np.abs(want))
    if (np.abs(want - have) > slack).any() or len(np.unique(found)) < len(np.unique(items)):
        return False
    for k in np.flatnonzero(items != found):
        tied = np.abs(want - want[k]) <= 2 * slack[k]
        at_the_cut = tied[-1]  # the list ends within the tie: an item from beyond it may stand here
        if not at_the_cut and found[k] not in items[tied]:
            return False
    return True
