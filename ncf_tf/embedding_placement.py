"""Choices for each embedding table by cost: updated whole or by row, looked up before or after the first layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tensorflow as tf

from ncf_tf.lookup import AS_EMBEDDINGS, Projected
from ncf_tf.negatives import NegativeSampler
from recsys_core.input.pair_parts import PairTable
from recsys_core.training.sparse_gradients import is_sparse

if TYPE_CHECKING:
    from ncf_tf.network import NeuMfNetwork


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """How training steps draw negatives and look embeddings up."""

    sampler: NegativeSampler | None = None
    sparse_tables: list[tf.Variable] = field(default_factory=list)
    projected: Projected = AS_EMBEDDINGS
    pairs: PairTable | None = None
    """The training pairs, for the compiled step."""
    parts: int = 1
    """Parts of a rank's share of a batch in the compiled step."""


def choose_sparse_tables(model: NeuMfNetwork, pairs: int, negatives: int, choice: str = "auto") -> list[tf.Variable]:
    """The tables whose gradients go by rows, by what a global batch looks up in each.

    Args:
        pairs: positives of a global batch.
        choice: auto, dense or rows.
    """
    lookups = (pairs, pairs * (1 + negatives)) * (len(model.tables) // 2)
    return [t for t, n in zip(model.tables, lookups, strict=True) if is_sparse(choice, t.shape[0], n)]


def choose_projected(
    model: NeuMfNetwork, pairs: int, negatives: int, sparse_tables: list[tf.Variable], embedding_l2: float = 0.0
) -> Projected:
    """The MLP tables that have fewer rows than a step looks up in them, and so pass the first layer whole.

    Args:
        pairs: positives of one rank's part of a batch.
        sparse_tables: tables that have to be looked up first, as their gradients go by rows.
    """
    if model.mlp is None or embedding_l2 or model.embedding_dropout:
        return AS_EMBEDDINGS
    apart = {table.ref() for table in sparse_tables}
    lookups = (pairs, pairs * (1 + negatives))
    return Projected(
        *(t.ref() not in apart and t.shape[0] <= n for t, n in zip(model.mlp.tables, lookups, strict=True))
    )
