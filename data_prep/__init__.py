"""From raw ratings to a data set on disk: sparse CSR matrices, memory-mapped, hashed, reproducible.

Lives here: reading source files, filtering, splitting, writing. Not here: TensorFlow, Horovod, anything of a model.
Command: ``python -m data_prep NAME --raw PATH --out DIR`` (``--help`` explains every option).
In Python: `describe` says what a prepared folder holds.

Shape legend of this package: R rows read, E events kept, U users, I items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from data_prep.description import Description


def describe(folder: str | Path) -> Description:
    """What a prepared data set holds: sizes, lengths of histories, popularity, held-out parts, what was left out.

    Args:
        folder: of the data set.

    Raises:
        ValueError: it is no data set, or it is damaged.
    """
    from data_prep import description  # late: NumPy

    return description.describe(folder)
