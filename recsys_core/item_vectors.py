"""Item vectors stored with an export, so that similar items are found without TensorFlow.

item_vectors.npy    float32 [I, D] by item index; similar items have vectors with a large cosine

A linear model needs no such file: the similarities of an item are its scores of a history of this item alone, which the
exported model gives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsys_core.errors import UserError
from recsys_core.model import Recommender

FILE = "item_vectors.npy"
COSINE, WEIGHTS, NONE = "cosine", "weights", "none"
"""Similar items: by the cosine of the stored vectors; by the weights of a linear model, which are the scores of a
history of one item; the export cannot tell."""


def write(folder: Path, model: Recommender) -> str:
    """Write the vectors into an export that is being made, if the model is compared by vectors.

    Returns:
        COSINE, WEIGHTS or NONE: how similar items are found, for export.json.
    """
    if model.is_linear:
        return WEIGHTS
    if type(model).item_similarities is not Recommender.item_similarities:
        return NONE  # a similarity of the model's own, which no vectors give
    try:
        vectors = np.asarray(model.item_vectors(), np.float32)
    except UserError:
        return NONE
    np.save(folder / FILE, vectors)
    return COSINE
