"""Sharing the parsing among MPI ranks. Without mpirun this is one rank and mpi4py is never imported."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


class Ranks:
    """The processes that read together; rank 0 goes on with the result."""

    def __init__(self) -> None:
        self._comm: Any = None
        if int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
            from mpi4py import MPI

            self._comm = MPI.COMM_WORLD
        self.rank = self._comm.Get_rank() if self._comm else 0
        self.size = self._comm.Get_size() if self._comm else 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        return self._comm.bcast(value) if self._comm else value

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value in rank order on rank 0, an empty list elsewhere (small objects only)."""
        return (self._comm.gather(value) or []) if self._comm else [value]

    def gather_arrays(self, mine: Mapping[str, npt.NDArray | None]) -> list[dict[str, npt.NDArray | None]]:
        """Every rank's arrays in rank order on rank 0, an empty list elsewhere (they travel as buffers)."""
        if not self._comm:
            return [dict(mine)]
        columns = {name: self._gather_column(array) for name, array in mine.items()}
        ranks = range(self.size if self.is_first else 0)
        return [{name: parts[rank] for name, parts in columns.items()} for rank in ranks]

    def agree(self, mine: T | None) -> T | None:
        """What the first rank brings that brings anything, on every rank."""
        return self.share(next((found for found in self.gather(mine) if found is not None), None))

    def _gather_column(self, mine: npt.NDArray | None) -> list[Any]:
        """Every rank's array on rank 0; an empty one of a rank that has none, None of each where no rank has one."""
        kinds = [kind for kind in self._comm.allgather(None if mine is None else mine.dtype.str) if kind]
        if kinds:
            return self._gather_array(np.empty(0, kinds[0]) if mine is None else mine)
        return [None] * self.size

    def _gather_array(self, mine: Any) -> list[Any]:
        shapes = self._comm.gather((mine.size, str(mine.dtype)))
        if not self.is_first:
            self._comm.Send(np.ascontiguousarray(mine), dest=0)
            return []
        received = [mine]
        for source, (size, dtype) in enumerate(shapes[1:], start=1):
            part = np.empty(size, dtype)
            self._comm.Recv(part, source=source)
            received.append(part)
        return received

    def end_job(self, error: BaseException) -> None:
        """End the whole MPI job because of an error on this rank; with one rank, return.

        The others may be waiting for this rank in an exchange that it will never reach.
        """
        if not self._comm:
            return
        if isinstance(error, ValueError | OSError):
            print(f"error: {error}", file=sys.stderr, flush=True)
            self._comm.Abort(2)
        if isinstance(error, KeyboardInterrupt):
            self._comm.Abort(128 + signal.SIGINT)
        traceback.print_exception(error)
        self._comm.Abort(1)
