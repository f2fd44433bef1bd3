"""Many processes on one device, one engine: NVIDIA's sampleMovieLensMPS, with an exit status that tells the truth.

The parent builds the engine once and shares it in memory; the children load it, warm up, wait for each other, and run
at the same time. Each answer's best item is compared with the trained model's.

  python -m serving infer --export runs/first/export -b 32 -p 4
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from serving import targets as variants
from serving.convert import conversion as convert
from serving.convert.options import Options
from serving.engines.engine import OnnxRunner, Runner
from serving.export_folder import Arrays, ExportFolder, open_export
from serving.infer import mps
from serving.targets import Converted, Variant

TIES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": 1e-1}
"""How far below the expected item's score, relative to max(1, |score|), another best item's may lie."""
PATIENCE = 120.0
"""Seconds that a child may take to load, and to run."""
FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a child found."""

    process: int
    predicted: npt.NDArray[np.int32]
    """[B] best item of each request."""
    seconds: npt.NDArray[np.float64]
    """[R] of each timed run."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The bytes that a child makes a runner of."""

    format: str
    content: bytes

    def runner(self, threads: int) -> Runner:
        if self.format == "onnx":
            return OnnxRunner(self.content, threads)
        from serving.convert.tensorrt import TensorRtRunner

        return TensorRtRunner(self.content)


def build(made: Converted, identity: str) -> Engine:
    """The engine, once, in the parent.

    Raises:
        ValueError, RuntimeError: there is none, it was not verified, or it cannot be loaded.
    """
    made.require_verified(identity)
    if made.variant.format == "tensorrt":
        return Engine(format="tensorrt", content=made.model.read_bytes())
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        ort.InferenceSession(str(made.model), options, providers=["CPUExecutionProvider"])
        return Engine(format="onnx", content=Path(options.optimized_model_filepath).read_bytes())


def _end_with_parent() -> None:
    """A killed parent can tell its children nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(FAILED)


def _child(pipe: Connection, memory: str, size: int, form: str, inputs: Arrays, threads: int, repeat: int) -> None:
    """Load, warm up, say so, wait for the start, run, report. Ends by itself when the parent is gone."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        shared = SharedMemory(memory)
        try:
            runner = Engine(format=form, content=bytes(shared.buf[:size])).runner(threads)
        finally:
            shared.close()
        for _ in range(3):
            answers = runner(inputs)
        pipe.send("ready")
        pipe.recv()
        seconds = np.empty(repeat)
        for k in range(repeat):
            start = time.perf_counter()
            answers = runner(inputs)
            seconds[k] = time.perf_counter() - start
        pipe.send(Report(process=os.getpid(), predicted=answers["items"][:, 0], seconds=seconds))
    except EOFError:  # the parent is gone
        sys.exit(FAILED)
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        sys.exit(FAILED)


@contextlib.contextmanager
def _shared(content: bytes) -> Iterator[str]:
    memory = SharedMemory(create=True, size=len(content))
    try:
        memory.buf[: len(content)] = content
        yield memory.name
    finally:
        memory.close()
        memory.unlink()


def _next_word(process: Any, pipe: Connection, deadline: float) -> Any:
    """What a child says next; a str that begins with "failed" if it dies or is late."""
    left = max(0.0, deadline - time.monotonic())
    ready = wait([pipe, process.sentinel], timeout=left)
    if pipe in ready:
        try:
            return pipe.recv()
        except EOFError:
            pass
    elif not ready:
        return f"failed: silent for {PATIENCE:.0f} s"
    process.join(1)
    status = process.exitcode
    return f"failed: ended with {'signal ' + str(-status) if status is not None and status < 0 else f'status {status}'}"


def run_children(
    engine: Engine, inputs: Arrays, *, processes: int, threads: int, repeat: int
) -> tuple[list[Report], list[str]]:
    """Run the engine in several processes at once.

    Returns:
        Reports of those that finished, and what became of the others.
    """
    context = multiprocessing.get_context("spawn")
    children: list[tuple[Any, Connection]] = []
    reports: list[Report] = []
    failures: list[str] = []
    with _shared(engine.content) as memory:
        try:
            for _ in range(processes):
                ours, theirs = context.Pipe()
                given = (theirs, memory, len(engine.content), engine.format, inputs, threads, repeat)
                child = context.Process(target=_child, args=given, daemon=True)
                child.start()
                theirs.close()
                children.append((child, ours))
            running = []
            for child, pipe in children:
                word = _next_word(child, pipe, time.monotonic() + PATIENCE)
                if word == "ready":
                    running.append((child, pipe))
                else:
                    failures.append(f"process {child.pid}: {word}")
            for _, pipe in running:
                with contextlib.suppress(OSError):
                    pipe.send("start")
            for child, pipe in running:
                word = _next_word(child, pipe, time.monotonic() + PATIENCE)
                if isinstance(word, Report):
                    reports.append(word)
                else:
                    failures.append(f"process {child.pid}: {word}")
        finally:
            for child, pipe in children:
                pipe.close()
                child.join(5)
                if child.is_alive():
                    child.kill()
                    child.join()
    return reports, failures


def requests(export: ExportFolder, signature: str, batch: int) -> tuple[Arrays, Arrays]:
    """`batch` golden requests (from the first again when they run out) and the trained model's answers."""
    inputs, answers = export.golden(signature)
    rows = np.arange(batch) % len(inputs["item_ids"])
    return {k: v[rows] for k, v in inputs.items()}, {k: v[rows] for k, v in answers.items()}


def is_right(expected: Arrays, predicted: npt.NDArray[np.int32], tolerance: float) -> npt.NDArray[np.bool_]:
    """[B] whether the best item is the expected one, or one that ties with it for the trained model."""
    best = expected["scores"][:, 0]
    allowed = best - tolerance * np.maximum(1.0, np.abs(best))
    tied = (expected["items"] == predicted[:, None]) & (expected["scores"] >= allowed[:, None])
    return tied.any(axis=1)


def show(reports: Sequence[Report], users: Sequence[int], expected: Arrays, verbose: bool) -> str:
    """The table of answers, and of durations."""
    rows = [
        (r.process, user, want, have)
        for r in reports
        for user, want, have in zip(users, expected["items"][:, 0], r.predicted, strict=True)
    ]
    shown = rows if verbose else [row for r in reports for row in [x for x in rows if x[0] == r.process][:5]]
    parts = [tabulate(shown, headers=("process", "user", "expected item", "predicted item"))]
    if len(shown) < len(rows):
        parts.append(f"... {len(rows) - len(shown)} more rows with --verbose")
    times = [
        (r.process, *(f"{1e3 * v:.3f}" for v in (r.seconds.mean(), *np.percentile(r.seconds, (50, 95, 99)))))
        for r in reports
    ]
    parts.append(tabulate(times, headers=("process", "mean ms", "p50 ms", "p95 ms", "p99 ms")))
    return "\n\n".join(parts)


def _variant(args: argparse.Namespace) -> Variant:
    precision = "int8" if args.int8 else "fp16" if args.fp16 else "fp32"
    form = args.format
    if form == "auto":
        ready = convert.preflight(Variant(format="tensorrt", precision=precision)) is None
        form = "tensorrt" if ready else "onnx"
    return Variant(format=form, precision=precision)


def _conversion(args: argparse.Namespace, export: ExportFolder) -> Converted:
    """The conversion that was asked for; made now if it is not there."""
    variant = _variant(args)
    folder = args.models or variants.default_folder(args.export)
    made = Converted(folder=folder / variant.name, variant=variant)
    if not made.model.exists():
        print(f"building {variant.name} ...", flush=True)
        options = Options(max_batch=max(args.batch, 1), optimal_batch=args.batch, dla_core=args.use_dla_core)
        note = convert.in_own_process(export, made, options, 10_000)
        if note["status"] != "OK":
            raise RuntimeError(f"cannot build the engine: {note['why']}")
    return made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--export", type=Path, required=True, help="RUN_DIR/export")
    add("--models", type=Path, help="folder of the conversions (default: converted/ beside the export)")
    add("-b", "--batch", type=int, default=32, help="users in a request (default: %(default)s)")
    add("-p", "--processes", type=int, default=1, help="child processes (default: %(default)s)")
    add("--format", choices=("auto", "onnx", "tensorrt"), default="auto", help="default: TensorRT where it runs")
    add("--fp16", action="store_true", help="float16 engine")
    add("--int8", action="store_true", help="int8 engine, calibrated on real requests")
    add("--useDLACore", dest="use_dla_core", type=int, default=-1, metavar="N", help="DLA core, GPU as fallback")
    add("--mps", action="store_true", help="start a CUDA MPS daemon of our own, and stop it")
    add("--repeat", type=int, default=50, help="timed runs of each process (default: %(default)s)")
    add("--threads", type=int, default=0, help="of each process (default: the cores shared evenly)")
    add("--verbose", action="store_true", help="every row")


def main(args: argparse.Namespace) -> int:
    """0 PASSED, 1 FAILED."""
    for name, least in (("batch", 1), ("processes", 1), ("repeat", 1), ("threads", 0), ("use_dla_core", -1)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}, expected {least} or more")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that children and memory are cleared away
    export = open_export(args.export)
    threads = args.threads or max(1, len(os.sched_getaffinity(0)) // args.processes)
    started = time.perf_counter()
    problem, wrong = "", 0
    reports: list[Report] = []
    failures: list[str] = []
    try:
        made = _conversion(args, export)
        inputs, expected = requests(export, made.variant.signature, args.batch)
        with mps.daemon() if args.mps else contextlib.nullcontext():
            reports, failures = run_children(
                build(made, export.identity), inputs, processes=args.processes, threads=threads, repeat=args.repeat
            )
    except (ValueError, RuntimeError) as error:
        problem = str(error)
    except Exception as error:  # an engine's own kind of error: told, and FAILED
        problem = f"{type(error).__name__}: {error}"
    if reports:
        users = inputs["user_ids"].tolist() if "user_ids" in inputs else list(range(args.batch))
        print(show(reports, users, expected, args.verbose))
        tolerance = TIES[made.variant.precision]
        wrong = sum(int((~is_right(expected, r.predicted, tolerance)).sum()) for r in reports)
        total = sum(args.batch * len(r.seconds) for r in reports)
        print(f"\n{total / max(r.seconds.sum() for r in reports):,.0f} users/s over {len(reports)} processes")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if problem:
        print(f"error: {problem}", file=sys.stderr)
    print(f"wrong predictions: {wrong}")
    run = len(reports) + len(failures)
    print(f"processes run: {run}, failed: {len(failures)}, total {1e3 * (time.perf_counter() - started):,.0f} ms")
    passed = not problem and not failures and not wrong and len(reports) == args.processes
    print("PASSED" if passed else "FAILED")
    return 0 if passed else FAILED
