"""The ranks of a job: the one file that imports Horovod and mpi4py.

A process that horovodrun or mpirun started joins the others; any other process is a world of one, and neither library
is imported. Order matters (docs/architecture.md, "Ranks"): mpi4py first so that MPI is finalised by it at the very
end, not by Horovod's background thread under ranks that still run; then `hvd.init`; a barrier; then shutdown.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from recsys_core import launchers, watchdog
from recsys_core.errors import SharedError, SharedExit, UserError, errors_of_ranks, outcome, place

T = TypeVar("T")
ERRORS_OF_PEERS = ("UnknownError", "AbortedError", "HorovodInternalError")
"""Classes of the errors that an exchange raises when another rank is gone; those of wrong exchanges are others."""
SECONDS_FOR_NEWS = 3.0
"""Time that a rank waits after an error of Horovod to hear which rank ended."""


def launched_by_mpi() -> bool:
    return "OMPI_COMM_WORLD_SIZE" in os.environ


def launched_by_gloo() -> bool:
    return "HOROVOD_GLOO_RENDEZVOUS_ADDR" in os.environ


def rank_hint() -> int:
    """This process's rank before anything is initialised (for messages about bad arguments)."""
    return int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("HOROVOD_RANK") or 0)


def _affinity() -> frozenset[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cores_of_rank(affinities: Sequence[frozenset[int]], rank: int) -> int:
    """Cores that one rank of a host may use, at least 1.

    A launcher that binds ranks gives each its own cores, another gives all ranks the same: a core is divided among the
    ranks that may run on it, so both cases come out right.

    Args:
        affinities: the cores that each rank of the host may run on.
        rank: the place of the rank in `affinities`.
    """
    share = sum(1 / sum(core in other for other in affinities) for core in affinities[rank])
    return max(1, int(share + 1e-6))


class World:
    """A world of one: every exchange is the identity."""

    rank, size, local_rank, local_size = 0, 1, 0, 1
    controller = "none"

    def cores(self) -> int:
        """Cores for this rank: each core it may run on, divided among the ranks of its host that may run on it too."""
        return cores_of_rank([_affinity()], 0)

    @property
    def is_rank0(self) -> bool:
        return self.rank == 0

    def sum_in_graph(self, tensor: Any, name: str) -> Any:
        """Sum of a tensor over ranks, inside a tf.function."""
        del name
        return tensor

    def gather_in_graph(self, tensor: Any, name: str) -> Any:
        """The tensors of all ranks one after another along the first axis, inside a tf.function."""
        del name
        return tensor

    def sum_array(self, array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sum of a float64 array over ranks, on every rank."""
        return array

    def broadcast_variables(self, variables: Sequence[Any]) -> None:
        """Overwrite tf.Variables with rank 0's values."""

    def make_alike(self, variables: Sequence[Any]) -> None:
        """Overwrite tf.Variables with rank 0's values where ranks differ. Values of one seed need not be sent."""

    def broadcast(self, value: T) -> T:
        """Rank 0's object, on every rank."""
        return value

    def gather(self, value: T) -> list[T]:
        """The objects of all ranks, by rank, on every rank."""
        return [value]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on some rank, on every rank."""
        return flag

    def barrier(self) -> None:
        """Wait for every rank."""

    def watch(self) -> None:
        """Start to watch the ranks; every rank takes part."""

    def name_run(self, folder: Path) -> None:
        """Name the run that a job which ends early can go on with."""

    def abort(self, status: int) -> None:
        """End the whole job at once; returns only in a world of one."""

    def part(self) -> bool:
        """Let the ranks end, so that rank 0 goes on alone with what no other rank is needed for; every rank takes part.

        Returns:
            Whether this is rank 0, to which this object is a world of one from now on. The others have to end.
        """
        return self.is_rank0

    def lost(self, error: BaseException) -> str | None:
        """A line on the ranks whose end is the cause of an error of Horovod ("": rank 0 says it); None for others."""
        del error
        return None

    def close(self) -> None:
        """Leave together with the other ranks."""

    def run_on_rank0(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 only; every rank gets its result, or raises its error.

        Raises:
            SharedError: the ValueError or OSError of rank 0.
        """
        answer: tuple[Any, str | None] = outcome(work) if self.is_rank0 else (None, None)
        value, error = self.broadcast(answer)
        if error is not None:
            raise SharedError(error)
        return value

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Run `work` on every rank, without exchanges inside; each gets its own result, or all raise the errors.

        Raises:
            SharedError: the ValueErrors and OSErrors of the ranks, with rank and host where it is not rank 0.
        """
        value, error = outcome(work)
        found = self.gather((socket.gethostname(), error))
        if any(text is not None for _, text in found):
            raise SharedError(errors_of_ranks(found))
        return value


class HorovodWorld(World):
    """The ranks that horovodrun or mpirun started."""

    def __init__(self) -> None:
        # Horovod names a rank that runs and does not come to an exchange, and ends the job after hours only: rank 0 may
        # fit a baseline or convert an export for long. A rank that does not run is the watchdog's.
        os.environ.setdefault("HOROVOD_STALL_CHECK_TIME_SECONDS", "300")
        os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "21600")
        watchdog.set_gloo_timeout()
        if int(os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1")) > (os.cpu_count() or 1):
            os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # waiting ranks leave the cores to working ones
        self._mpi: Any = None
        if launched_by_mpi():
            from mpi4py import MPI

            self._mpi = MPI
        import horovod.tensorflow as hvd

        hvd.init()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()
        self.local_rank, self.local_size = hvd.local_rank(), hvd.local_size()
        self.controller = "mpi" if self._mpi else "gloo"
        self._cores = self._own_cores()
        self._watchdog: watchdog.Watchdog | None = None

    def watch(self) -> None:
        self._watchdog = watchdog.start(self)

    def name_run(self, folder: Path) -> None:
        if self._watchdog is not None:
            self._watchdog.name_run(folder)

    def lost(self, error: BaseException) -> str | None:
        if self._watchdog is None or type(error).__name__ not in ERRORS_OF_PEERS:
            return None
        return self._watchdog.lost_line(SECONDS_FOR_NEWS)

    def cores(self) -> int:
        return self._cores

    def _own_cores(self) -> int:
        """See `World.cores`; every rank takes part."""
        if self._mpi is None:  # Gloo's launcher binds nothing: all ranks of a host may run on the same cores
            return cores_of_rank([_affinity()] * self.local_size, 0)
        own = (socket.gethostname(), self.rank, _affinity())
        everyone = self._mpi.COMM_WORLD.allgather(own)  # not through Horovod, which would start TensorFlow
        here = [(rank, cores) for host, rank, cores in everyone if host == own[0]]
        return cores_of_rank([cores for _, cores in here], [rank for rank, _ in here].index(self.rank))

    def sum_in_graph(self, tensor: Any, name: str) -> Any:
        return self._hvd.allreduce(tensor, op=self._hvd.Sum, name=name)

    def gather_in_graph(self, tensor: Any, name: str) -> Any:
        return self._hvd.allgather(tensor, name=name)

    def sum_array(self, array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self._hvd.allreduce(array, op=self._hvd.Sum, name="sum_array").numpy()

    def broadcast_variables(self, variables: Sequence[Any]) -> None:
        from recsys_core.pieces import broadcast_in_pieces

        broadcast_in_pieces(variables, lambda tensor, name: self._hvd.broadcast(tensor, root_rank=0, name=name))

    def make_alike(self, variables: Sequence[Any]) -> None:
        from recsys_core.pieces import digest

        found = self.gather([digest(variable) for variable in variables])
        differ = [len(set(of_ranks)) > 1 for of_ranks in zip(*found, strict=True)]
        self.broadcast_variables([v for v, differs in zip(variables, differ, strict=True) if differs])

    def broadcast(self, value: T) -> T:
        return self._hvd.broadcast_object(value, root_rank=0, name="object")

    def gather(self, value: T) -> list[T]:
        import tensorflow as tf

        with tf.device("/CPU:0"):  # two ranks on one GPU, which NCCL refuses, must be able to part in good order
            return self._hvd.allgather_object(value, name="gather")

    def any(self, flag: bool) -> bool:
        return bool(self._hvd.allreduce(np.array([flag], np.float32), op=self._hvd.Sum, name="any")[0] > 0)

    def barrier(self) -> None:
        self._hvd.allreduce(np.zeros(1, np.float32), op=self._hvd.Sum, name="barrier")

    def abort(self, status: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if self._mpi:
            self._mpi.COMM_WORLD.Abort(status)
        os._exit(status)  # under Gloo the launcher ends the others when one exits with a failure

    def part(self) -> bool:
        self.close()
        if self._mpi:
            self._mpi.Finalize()  # MPI waits for all ranks in it: at its end a process would wait for rank 0
        self.size, self.local_rank, self.local_size = 1, 0, 1
        self.__class__ = World  # type: ignore[assignment]  # whoever holds this object has no peers any more
        return self.is_rank0

    def close(self) -> None:
        """Nobody's Horovod may go down while another still talks to it."""
        self.barrier()
        if self._mpi:
            self._mpi.COMM_WORLD.Barrier()
        if self._watchdog is not None:
            self._watchdog.close()
        self._hvd.shutdown()


_current = World()


def current() -> World:
    """The world of the `session` that is open, else a world of one."""
    return _current


@contextlib.contextmanager
def session() -> Iterator[World]:
    """The ranks of this job, joined until the block ends. An exception on one rank ends the job on all ranks.

    A `SharedError` is raised by all ranks alike: they leave in good order and the caller reports it.
    """
    global _current
    if text := launchers.refusal(os.environ):
        raise SharedError(text)
    if not (launched_by_mpi() or launched_by_gloo()):
        yield World()
        return
    world: World = HorovodWorld()
    if text := launchers.mismatch(os.environ, world.size):
        raise SharedError(text)
    _current = world
    try:
        yield world
    except SharedExit:
        world.close()
        raise
    except BaseException as error:
        if isinstance(error, UserError):  # found on this rank only: the others do not know of it
            where = f"{place(world.rank, socket.gethostname())}: " if world.rank else ""
            print(f"error: {where}{error}", file=sys.stderr, flush=True)
            world.abort(UserError.exit_status)
            raise
        if isinstance(error, KeyboardInterrupt):
            world.abort(128 + signal.SIGINT)
            raise
        if (line := world.lost(error)) is not None:
            print(line, end="", file=sys.stderr, flush=True)
            world.abort(watchdog.SILENT)
        print(f"rank {world.rank} of {world.size} failed:", file=sys.stderr)
        traceback.print_exc()
        world.abort(1)
        raise
    else:
        world.close()
    finally:
        _current = World()


def self_test(world: World) -> bool:
    """Prove that gradients are reduced: ranks that start apart must end equal, and at the right value.

    Each rank takes a step with its own rank number as gradient, reduced; every rank must end at the same sum.
    """
    import tensorflow as tf

    weight = tf.Variable(0.0)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = weight * tf.cast(world.rank + 1, tf.float32)
        gradient = tape.gradient(loss, weight)
        return weight.assign_sub(world.sum_in_graph(gradient, "self_test"))

    reached = float(step())
    everywhere = world.sum_array(np.array([reached, reached**2]))
    expected = -world.size * (world.size + 1) / 2
    spread = everywhere[1] / world.size - (everywhere[0] / world.size) ** 2
    return abs(reached - expected) < 1e-6 and abs(spread) < 1e-6
