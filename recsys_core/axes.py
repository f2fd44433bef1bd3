"""`Axes`: which axis of a parameter is the items or the users of the data set. A warm start matches those by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf

ITEMS, USERS, OTHER = "items", "users", ""
NAMES = (ITEMS, USERS, OTHER)


class Axes(NamedTuple):
    """A parameter and what its axes are."""

    parameter: tf.Variable
    names: tuple[str, ...]
    """ITEMS, USERS or OTHER for each axis: (ITEMS, OTHER) is a row for each item, (OTHER, ITEMS) a column."""
    is_bias: bool = False
    """Whether it is added to the scores: it grows with the number of interactions, and a new item takes the value that
    matched items with as many have."""
