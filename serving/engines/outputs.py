"""Names of an engine's outputs, and the masking of what the user has.

Shape legend: B requests in a batch, L history length, I items.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from serving.export_folder import Arrays

RANKED = ("items", "scores")
"""The outputs that every model has: the best items and their scores."""
ALL_SCORES = "all_scores"
"""The scores of all items. Models made by earlier versions do not have it."""


def hide_seen(answers: Arrays, inputs: Mapping[str, npt.NDArray]) -> Arrays:
    """The same answers, with all_scores at minus infinity for the items of item_ids [B, L].

    The graphs for inference engines give the scores as they are: a masked copy in the graph would be computed for
    every request, whether somebody asks for it or not.
    """
    scores, item_ids = answers.get(ALL_SCORES), inputs.get("item_ids")
    if scores is None or item_ids is None:
        return answers
    if not scores.flags.writeable:
        scores = scores.copy()
    rows, columns = np.nonzero(item_ids < scores.shape[1])
    scores[rows, item_ids[rows, columns]] = -np.inf
    return {**answers, ALL_SCORES: scores}
