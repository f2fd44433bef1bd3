"""Runs one engine in several child processes at the same time.

The parent serializes the engine once and puts the bytes into shared memory. Each child loads them, warms up, waits
until all children are ready, and runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.engines import providers
from serving.engines.engine import Engine
from serving.engines.onnx import OnnxEngine
from serving.engines.tensorrt import TensorRtEngine
from serving.export_folder import Arrays
from serving.targets import Artifact

TIMEOUT = 120.0
"""Seconds that a child may take to load the engine, and to run."""
WARM_UP_RUNS = 3
FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of a child. B requests in a batch, R timed runs."""

    process: int
    predicted: npt.NDArray[np.int32]
    """[B] best item of each request."""
    seconds: npt.NDArray[np.float64]
    """[R] duration of each run."""


@dataclass(frozen=True, kw_only=True)
class SerializedEngine:
    """An engine as bytes, which a child loads."""

    format: str
    content: bytes
    provider: str = "cpu"
    """Of an ONNX model."""
    dla_core: int = -1
    """That a TensorRT plan was built for; -1 for the GPU."""

    def load(self, threads: int) -> Engine:
        if self.format == "onnx":
            return OnnxEngine(self.content, threads, provider=self.provider)
        return TensorRtEngine(self.content, self.dla_core)


def serialize_engine(artifact: Artifact, identity: str, provider: str = providers.AUTO) -> SerializedEngine:
    """Read a TensorRT plan, or let ONNX Runtime optimise an ONNX model.

    Args:
        identity: of the export that the model must be made from.
        provider: see `serving.engines.providers`.

    Raises:
        ValueError, RuntimeError: the model is missing, was not verified, or cannot be loaded.
    """
    artifact.require_model()
    provider = providers.choose(artifact, provider)
    artifact.require_verified(identity, provider)
    if artifact.target.format == "tensorrt":
        content = artifact.model.read_bytes()
        return SerializedEngine(format="tensorrt", content=content, dla_core=artifact.dla_core)
    if provider != "cpu":  # each process optimises it: what is optimised for a CPU is not what a GPU wants
        return SerializedEngine(format="onnx", content=artifact.model.read_bytes(), provider=provider)
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        ort.InferenceSession(str(artifact.model), options, providers=["CPUExecutionProvider"])
        return SerializedEngine(format="onnx", content=Path(options.optimized_model_filepath).read_bytes())


def _exit_with_parent() -> None:
    """Wait until the parent process has ended, then end this process. A killed parent cannot stop its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(FAILED)


@dataclass(frozen=True, kw_only=True)
class _ChildTask:
    """Arguments of a child process."""

    memory: str
    """Name of the shared memory that holds the engine."""
    size: int
    format: str
    provider: str
    dla_core: int
    inputs: Arrays
    threads: int
    repeat: int

    def load_engine(self) -> Engine:
        shared = SharedMemory(self.memory)
        try:
            content = bytes(shared.buf[: self.size])
        finally:
            shared.close()
        engine = SerializedEngine(format=self.format, content=content, provider=self.provider, dla_core=self.dla_core)
        return engine.load(self.threads)


def _run_child(pipe: Connection, task: _ChildTask) -> None:
    """Load and warm up, send "ready", wait for a message, run, and send a `Report`, or a string with the error."""
    os.environ["OMP_NUM_THREADS"] = str(task.threads)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        engine = task.load_engine()
        for _ in range(WARM_UP_RUNS):
            answers = engine(task.inputs)
        pipe.send("ready")
        pipe.recv()
        seconds = np.empty(task.repeat)
        for k in range(task.repeat):
            start = time.perf_counter()
            answers = engine(task.inputs)
            seconds[k] = time.perf_counter() - start
        pipe.send(Report(process=os.getpid(), predicted=answers["items"][:, 0], seconds=seconds))
    except EOFError:  # the parent has ended
        sys.exit(FAILED)
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        sys.exit(FAILED)


@contextlib.contextmanager
def _shared_memory(content: bytes) -> Iterator[str]:
    """Shared memory that holds the content and is removed after the block; gives its name."""
    memory = SharedMemory(create=True, size=len(content))
    try:
        memory.buf[: len(content)] = content
        yield memory.name
    finally:
        memory.close()
        memory.unlink()


def _receive(process: Any, pipe: Connection) -> Any:
    """The next message of a child; a string that begins with "failed" if it ended or sent nothing within TIMEOUT."""
    ready = wait([pipe, process.sentinel], timeout=TIMEOUT)
    if pipe in ready:
        try:
            return pipe.recv()
        except EOFError:
            pass
    elif not ready:
        return f"failed: silent for {TIMEOUT:.0f} s"
    process.join(1)
    status = process.exitcode
    return f"failed: ended with {'signal ' + str(-status) if status is not None and status < 0 else f'status {status}'}"


def _stop(children: list[tuple[Any, Connection]]) -> None:
    """Close the pipes, and kill each child that does not end within 5 seconds."""
    for child, pipe in children:
        pipe.close()
        child.join(5)
        if child.is_alive():
            child.kill()
            child.join()


def run_processes(
    engine: SerializedEngine, inputs: Arrays, *, processes: int, threads: int, repeat: int
) -> tuple[list[Report], list[str]]:
    """Run an engine in several processes at once.

    Args:
        threads: number of threads of each process.
        repeat: number of timed runs of each process.

    Returns:
        The reports of the children that finished, and one line for each child that failed.
    """
    context = multiprocessing.get_context("spawn")
    children: list[tuple[Any, Connection]] = []
    reports: list[Report] = []
    failures: list[str] = []
    with _shared_memory(engine.content) as memory:
        task = _ChildTask(
            memory=memory, size=len(engine.content), format=engine.format, provider=engine.provider,
            dla_core=engine.dla_core, inputs=inputs, threads=threads, repeat=repeat,
        )  # fmt: skip
        try:
            for _ in range(processes):
                parent_end, child_end = context.Pipe()
                child = context.Process(target=_run_child, args=(child_end, task), daemon=True)
                child.start()
                child_end.close()
                children.append((child, parent_end))
            running = []
            for child, pipe in children:
                message = _receive(child, pipe)
                if message == "ready":
                    running.append((child, pipe))
                else:
                    failures.append(f"process {child.pid}: {message}")
            for _, pipe in running:
                with contextlib.suppress(OSError):
                    pipe.send("start")
            for child, pipe in running:
                message = _receive(child, pipe)
                if isinstance(message, Report):
                    reports.append(message)
                else:
                    failures.append(f"process {child.pid}: {message}")
        finally:
            _stop(children)
    return reports, failures
