"""Run the same requests in several processes on one device, and compare the answers with the trained model's.

This is NVIDIA's sampleMovieLensMPS, but its last line is FAILED, and its exit status 1, if a prediction is wrong, a
process fails, or the engine cannot be built.

  python -m serving infer --export runs/first -b 32 -p 4
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from serving import targets
from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.convert import conversion
from serving.convert.options import Options
from serving.data_set import DATA_HELP
from serving.engines import providers
from serving.export_folder import Arrays, ExportFolder, open_export
from serving.infer import mps
from serving.infer.answers import SCORE_TOLERANCE, format_tables, golden_batch, is_expected
from serving.infer.processes import FAILED, Report, run_processes, serialize_engine
from serving.progress import step
from serving.targets import PROVIDERS, Artifact, Target

VERIFIED_USERS = 10_000
"""Largest number of test users to verify a new conversion with."""


def _choose_target(args: argparse.Namespace) -> Target:
    """The target that the flags name; for `--format auto` TensorRT if this machine has it, else ONNX."""
    precision = "int8" if args.int8 else "fp16" if args.fp16 else "fp32"
    format_name = args.format
    if format_name == "auto":
        tensorrt = Target(format="tensorrt", precision=precision)
        format_name = "tensorrt" if conversion.unavailable_reason(tensorrt) is None else "onnx"
    return Target(format=format_name, precision=precision)


def check_fits(artifact: Artifact, batch: int, dla_core: int) -> None:
    """Raise ValueError unless an engine that exists takes the batch, and was built for the DLA core.

    Args:
        dla_core: that was asked for; -1 for none.
    """
    again = f"python -m serving convert --export RUN --to tensorrt --precision {artifact.target.precision}"
    limit = artifact.limits.batch
    if limit is not None and batch > limit:
        raise ValueError(
            f"-b is {batch}, the engine in {artifact.folder} takes at most {limit} requests; build it again "
            f"with: {again} --max-batch {batch}"
        )
    if dla_core >= 0 and artifact.dla_core != dla_core:
        built_for = "the GPU" if artifact.dla_core < 0 else f"DLA core {artifact.dla_core}"
        raise ValueError(
            f"--useDLACore is {dla_core}, the engine in {artifact.folder} was built for {built_for}; build it again "
            f"with: {again} --dla-core {dla_core}"
        )


def _open_or_convert(args: argparse.Namespace, export: ExportFolder) -> Artifact:
    """The converted model that the flags name; converts it if it does not exist."""
    target = _choose_target(args)
    folder = args.models or targets.default_folder(export.folder)
    artifact = Artifact(folder=folder / target.name, target=target)
    if args.use_dla_core >= 0 and target.format != "tensorrt":
        raise ValueError(f"--useDLACore is {args.use_dla_core}, but the engine is {target.name}: it needs TensorRT")
    if artifact.model.exists():
        check_fits(artifact, args.batch, args.use_dla_core)
    else:
        step(f"building {target.name}")
        provider = args.provider if target.format == "onnx" else providers.AUTO
        options = Options(
            max_batch=max(args.batch, Options.max_batch),
            optimal_batch=args.batch,
            dla_core=args.use_dla_core,
            provider=provider,
        )
        note = conversion.convert_in_child_process(export, artifact, options, VERIFIED_USERS)
        if note["status"] != "OK":
            raise RuntimeError(f"cannot build the engine: {note['why']}")
    return artifact


def add_arguments(parser: CommandParser) -> None:
    add, add_rare = parser.add_argument, parser.add_rare
    parser.add_argument("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    add("-b", "--batch", type=int, default=32, help="users in a request (default: %(default)s)")
    add("-p", "--processes", type=int, default=1, help="child processes (default: %(default)s)")
    add("--fp16", action="store_true", help="float16 engine")
    add("--int8", action="store_true", help="int8 engine, calibrated on real requests")
    add("--verbose", action="store_true", help="print every row")
    add_rare("--models", type=Path, help=MODELS_HELP)
    add_rare("--data", metavar="D", type=Path, help=DATA_HELP)
    add_rare(
        "--format", choices=("auto", "onnx", "tensorrt"), default="auto",
        help="of the engine (default: TensorRT if this machine has it, else ONNX)",
    )  # fmt: skip
    add_rare("--useDLACore", dest="use_dla_core", type=int, default=-1, metavar="N", help="DLA core, GPU as fallback")
    add_rare("--mps", action="store_true", help="start a CUDA MPS daemon for this command, and stop it at the end")
    add_rare(
        "--provider",
        choices=(providers.AUTO, *PROVIDERS["onnx"]),
        default=providers.AUTO,
        help="what computes ONNX models (default: cuda if this machine has it and the model was verified with it)",
    )
    add_rare("--repeat", type=int, default=50, help="timed runs of each process (default: %(default)s)")
    add_rare("--threads", type=int, default=0, help="of each process (default: cores divided by processes)")


def _check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError for a number that is too small."""
    for name, smallest in (("batch", 1), ("processes", 1), ("repeat", 1), ("threads", 0), ("use_dla_core", -1)):
        if getattr(args, name) < smallest:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}, expected {smallest} or more")


def _print_answers(
    reports: Sequence[Report],
    export: ExportFolder,
    inputs: Arrays,
    expected: Arrays,
    precision: str,
    args: argparse.Namespace,
) -> int:
    """Print the tables and the throughput; returns the number of wrong predictions."""
    users = inputs["user_ids"].tolist() if "user_ids" in inputs else None
    if users is not None and export.holds_users:
        rows = dict(zip(export.users["row"].tolist(), export.user_ids.tolist(), strict=True))
        users = [rows[row] for row in users]
    print(format_tables(reports, users, export.item_ids.tolist(), expected, args.verbose))
    total = sum(args.batch * len(r.seconds) for r in reports)
    print(f"\n{total / max(r.seconds.sum() for r in reports):,.0f} users/s over {len(reports)} processes")
    tolerance = SCORE_TOLERANCE[precision]
    return sum(int((~is_expected(expected, r.predicted, tolerance)).sum()) for r in reports)


def main(args: argparse.Namespace) -> int:
    """0 PASSED, 1 FAILED."""
    _check_arguments(args)
    # SIGTERM raises KeyboardInterrupt, so that `finally` blocks stop the children and remove the shared memory.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    export = open_export(args.export, args.data)
    threads = args.threads or max(1, len(os.sched_getaffinity(0)) // args.processes)
    started = time.perf_counter()
    errors, wrong = [], 0
    reports: list[Report] = []
    failures: list[str] = []
    try:
        artifact = _open_or_convert(args, export)
        inputs, expected = golden_batch(export, artifact.target.signature, args.batch)
        with mps.daemon() if args.mps else contextlib.nullcontext():
            step(f"loading {artifact.target.name}")
            engine = serialize_engine(artifact, export.identity, args.provider)
            step(f"running {args.batch} requests {args.repeat} times in {args.processes} processes")
            reports, failures = run_processes(
                engine, inputs, processes=args.processes, threads=threads, repeat=args.repeat
            )
    except (ValueError, RuntimeError) as error:
        errors.append(str(error))
    except Exception as error:  # ONNX Runtime and TensorRT have exception types of their own
        errors.append(f"{type(error).__name__}: {error}")
    if reports:
        wrong = _print_answers(reports, export, inputs, expected, artifact.target.precision, args)
    for message in (*failures, *errors):
        print(f"error: {message}", file=sys.stderr)
    print(f"wrong predictions: {wrong}")
    run = len(reports) + len(failures)
    print(f"processes run: {run}, failed: {len(failures)}, total {1e3 * (time.perf_counter() - started):,.0f} ms")
    passed = not errors and not failures and not wrong and len(reports) == args.processes
    print("PASSED" if passed else "FAILED")
    return 0 if passed else FAILED
