"""Engines that are processes pinned to cores and share one queue."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence

from load_study.engines.cores import divide_cores, usable_cores
from load_study.engines.processes import ProcessPool
from load_study.engines.worker import run_worker
from load_study.subjects import Subject


class EnginePool(ProcessPool):
    """Processes of one subject that answer queries from one queue in order."""

    def __init__(
        self,
        subject: Subject,
        *,
        engines: int = 1,
        cores: int = 1,
        largest: int,
        queue_limit: int | None = None,
        warm_up_sizes: Sequence[int] | None = None,
    ) -> None:
        """
        Args:
            cores: of each engine; engines are pinned to different cores as long as there are enough.
            largest: size of a request.
            warm_up_sizes: sizes of the requests before the first one counts (default: 1, and the largest twice).
            queue_limit: number of waiting requests above which a new one is refused; None for no limit.

        Raises:
            RuntimeError: an engine did not start; the message says why.
        """
        sizes = (1, largest, largest) if warm_up_sizes is None else tuple(warm_up_sizes)
        if subject.engine.startswith(("onnx", "tensorflow")):
            _run_in_process(subject.prepare)
        own = divide_cores(usable_cores(), engines, cores).engines
        super().__init__(
            [(run_worker, (subject, own[k], sizes, k)) for k in range(engines)],
            most_pending=None if queue_limit is None else queue_limit + engines,
        )


def _run_in_process(function: Callable[[], None]) -> None:
    """Run a function in a process of its own, so that the memory of what it loads is freed.

    Raises:
        RuntimeError: it failed; its output says why.
    """
    process = multiprocessing.get_context("spawn").Process(target=function)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError("the model could not be prepared, see above")
