"""How a step looks rows up, chosen by what is cheaper for a table of so many rows and a batch of so many samples."""

from __future__ import annotations

import tensorflow as tf

from ncf_tf.model import NeuMf
from ncf_tf.rows import AS_EMBEDDINGS, Projected
from recsys_core.training.embedding import is_by_rows


def tables_by_rows(model: NeuMf, pairs: int, negatives: int, choice: str = "auto") -> list[tf.Variable]:
    """The tables whose gradients go by rows, by what a global batch looks up in each.

    Args:
        pairs: positives of a global batch.
        choice: auto, dense or rows.
    """
    lookups = (pairs, pairs * (1 + negatives)) * (len(model.tables) // 2)
    return [t for t, n in zip(model.tables, lookups, strict=True) if is_by_rows(choice, t.shape[0], n)]


def tables_projected(
    model: NeuMf, pairs: int, negatives: int, by_rows: list[tf.Variable], embedding_l2: float = 0.0
) -> Projected:
    """The MLP tables that have fewer rows than a step looks up in them, and so pass the first layer whole.

    Args:
        pairs: positives of one rank's part of a batch.
        by_rows: tables that have to be looked up first, as their gradients go by rows.
    """
    if model.mlp is None or embedding_l2 or model.embedding_dropout:
        return AS_EMBEDDINGS
    apart = {table.ref() for table in by_rows}
    lookups = (pairs, pairs * (1 + negatives))
    return Projected(
        *(t.ref() not in apart and t.shape[0] <= n for t, n in zip(model.mlp.tables, lookups, strict=True))
    )
