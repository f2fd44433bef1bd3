"""Per-user metrics of all ranks, brought to rank 0 in blocks; the other ranks hold those of their own users only.

Shape legend: S held-out users, U those of one rank, M metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_core.world import World

BLOCK_BYTES = 1 << 26
"""Memory of what is exchanged at once."""


@dataclass(frozen=True, kw_only=True)
class OwnUsers:
    """The metrics of one rank's users."""

    users: npt.NDArray[np.int64]
    """[U] rows in the held-out matrices, ascending."""
    values: npt.NDArray[np.float64]
    """[U, M]"""


def joined(parts: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]], metrics: int) -> OwnUsers:
    """The users [P] and values [P, M] of several blocks together."""
    users, values = [np.empty(0, np.int64)], [np.empty((0, metrics))]
    for some, theirs in parts:
        users.append(some)
        values.append(theirs)
    return OwnUsers(users=np.concatenate(users), values=np.concatenate(values))


def whole_table(own: OwnUsers, n_users: int, world: World) -> npt.NDArray[np.float64] | None:
    """[S, M] the metrics of all ranks' users, on rank 0; None on the others. Every rank takes part.

    Sums over ranks of which one has a number and the others 0 are exact, so the result is that of one process.
    """
    metrics = own.values.shape[1]
    table = np.zeros((n_users, metrics)) if world.is_rank0 else None
    at_once = max(1, BLOCK_BYTES // (8 * max(metrics, 1)))
    for start in range(0, n_users if metrics else 0, at_once):
        block = np.zeros((min(at_once, n_users - start), metrics))
        mine = slice(*np.searchsorted(own.users, [start, start + len(block)]))
        block[own.users[mine] - start] = own.values[mine]
        summed = world.sum_array(block)
        if table is not None:
            table[start : start + len(block)] = summed
    return table
