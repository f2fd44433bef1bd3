"""Gradients of embedding tables: whole tables, or only the rows that a batch touched - whichever is cheaper.

A whole gradient costs passes over R x D numbers: to zero, fill, exchange, and update with Adam's moments. By rows it
costs finding the distinct rows among L lookups, and gathers and scatters of those. Both are sums over the same ranks,
but Adam by rows is "lazy": rows without a gradient keep their moments. So the choice depends on the table and the
*global* batch alone, never on the number of ranks, and 1 and 4 ranks stay the same run.
"""

from __future__ import annotations

import tensorflow as tf

from recsys_core.world import World

ROWS_PER_LOOKUP = 5.0
"""A table is updated by rows if it has more than this many rows for each lookup of a global batch
(`python -m benchmarks embeddings` measures where the two cost the same)."""


def is_sparse(choice: str, rows: int, lookups: int) -> bool:
    """Whether a table's gradient goes by rows.

    Args:
        choice: auto, dense or rows.
        rows: rows of the table.
        lookups: rows that a global batch looks up, repeats included.
    """
    return choice == "rows" or (choice == "auto" and rows > ROWS_PER_LOOKUP * lookups)


def merged(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with every row once, its values summed."""
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def summed_rows(gradient: tf.IndexedSlices, world: World, name: str) -> tf.IndexedSlices:
    """Sum over ranks of a gradient by rows, each row once.

    What a rank touched several times is added up before it is sent: a batch of a million lookups in a popular table
    would otherwise send every one of them.
    """
    mine = merged(gradient)
    if world.size == 1:
        return mine
    values = world.gather_in_graph(mine.values, f"{name}/values")
    rows = world.gather_in_graph(mine.indices, f"{name}/rows")
    return merged(tf.IndexedSlices(values, rows, gradient.dense_shape))
