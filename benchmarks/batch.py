"""Speed of `python -m serving batch`: its loop, its engine alone, and the matrix products of the forward pass alone.

The loop reads users, computes and writes parts, as the command does in one process. The three are timed in turn, window
by window, over the same users, so that other work on the machine slows all of them.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tables import TABLES
from recsys_core.measuring.processes import print_result, result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds, warm_up
from recsys_core.measuring.windows import ratios

if TYPE_CHECKING:  # `serving` imports pandas, which --help does not need
    from serving.batch.users import UserBlock
    from serving.batch.work import Job, PartWriter
    from serving.export_folder import ExportFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--export", metavar="RUN", type=Path, required=True, help="run of a VAE-CF, or its export")
    add("--data", type=Path, help="data set with the users (default: that of the run)")
    add("--model", help="verified converted model (default: as `python -m serving batch` takes it)")
    add("--users", type=int, default=10_000, help="of a window (default: %(default)s)")
    add("--windows", type=int, default=3, help="(default: %(default)s)")
    add("--seconds", type=float, default=2.0, help="of a window of products (default: %(default)s)")
    add("--one", action="store_true", help=argparse.SUPPRESS)


def layer_sizes(export: ExportFolder) -> list[int]:
    """Widths of the decoder of a VAE-CF, from the code to the items.

    Raises:
        ValueError: the model is another one.
    """
    settings = export.content["model"]
    if "latent" not in settings or "hidden" not in settings:
        raise ValueError(f"{export.folder} holds a model of {settings['package']}, expected one of vaecf with layers")
    return [int(settings["latent"]), *(int(width) for width in reversed(settings["hidden"])), export.n_items]


def forward_operations(sizes: list[int], is_variational: bool) -> float:
    """Multiplications and additions of one user's forward pass behind the sparse first layer.

    Args:
        sizes: see `layer_sizes`.
        is_variational: whether the encoder gives a mean and a variance.
    """
    decoder = sum(a * b for a, b in itertools.pairwise(sizes))
    inner = sum(a * b for a, b in itertools.pairwise(sizes[:-1]))
    code = sizes[0] * sizes[1] * (1 if is_variational else 0) if len(sizes) > 2 else 0
    return 2.0 * (decoder + inner + code)


def _job(export: ExportFolder, args: argparse.Namespace, folder: Path) -> tuple[Job, PartWriter, UserBlock]:
    """The command's parts over the first users, a part a window."""
    from serving.batch import parts, sources, work
    from serving.batch.models import choose_model
    from serving.engines import providers

    model = choose_model(export, args.model, providers.AUTO, None)
    choice = sources.SourceChoice(data=args.data)
    output = parts.output_of(folder, None)
    source = sources.open_source(choice, export, output.kept_users)
    count = min(args.users, len(source))
    plan = parts.Plan(output=output, users=count, part_users=work.part_users(work.PART_ROWS, export.top_k), settings={})
    job = work.Job(
        export=export.folder, source=choice, model=model, plan=plan, k=export.top_k, popular=False, allowed=None
    )
    return job, job.writer(export, source, 0), source.block(0, count)


def _loop_seconds(job: Job, writer: PartWriter) -> float:
    start = time.perf_counter()
    writer.write(range(len(job.plan)), lambda _: None)
    return time.perf_counter() - start


def _engine_seconds(job: Job, users: UserBlock, export: ExportFolder, writer: PartWriter) -> float:
    """The same requests in the same blocks, made before: the time that the engine takes."""
    from serving.batch.scoring import block_bounds, largest_block, padded

    total = 0.0
    for part in range(len(job.plan)):
        start, stop = job.plan.bounds(part)
        lengths = users.histories.lengths[start:stop]
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        for first, last in block_bounds(lengths[order], largest_block(export.n_items)):
            inputs = {"item_ids": padded(users.histories, start + order[first:last], export.n_items, None)}
            began = time.perf_counter()
            writer.engine(inputs)
            total += time.perf_counter() - began
    return total


def measure_one(args: argparse.Namespace) -> dict[str, Any]:
    """One record: windows of the loop, of the engine and of products, in turn."""
    from serving.batch.scoring import largest_block
    from serving.export_folder import open_export

    export = open_export(args.export)
    sizes = layer_sizes(export)
    operations = forward_operations(sizes, export.content["model"].get("kind") != "dae")
    block = largest_block(export.n_items)
    with tempfile.TemporaryDirectory() as folder:
        job, writer, users = _job(export, args, Path(folder) / "out")
        warmed = warm_up(lambda: _loop_seconds(job, writer))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        import tensorflow as tf

        from benchmarks.roofline import gemm_rate

        sides = {
            "gemm": lambda: gemm_rate(block, sizes[-2], sizes[-1], tf.float32, args.seconds),
            "engine": lambda: _engine_seconds(job, users, export, writer),
            "loop": lambda: _loop_seconds(job, writer),
        }
        rounds = in_rounds(sides, args.windows)
    gemm, engine, loop = rounds.values.values()
    count = len(users.ids)
    rates, limits = [count / s for s in loop], [g / operations for g in gemm]
    return {
        "model": f"{job.model.name} by {job.model.provider}",
        "layers": "-".join(map(str, sizes)),
        "users": count,
        "n_items": export.n_items,
        "top_k": export.top_k,
        "mean_history": float(users.histories.lengths.mean()),
        "block_size": block,
        "users_per_second": rates,
        "engine_users_per_second": [count / s for s in engine],
        "limit_users_per_second": limits,
        "gemm_gflops": [g / 1e9 for g in gemm],
        "share_of_limit": ratios(rates, limits),
        "share_of_engine": ratios(engine, loop),
        "peak_gib": peak,
        **fields(rounds, [warmed]),
    }


def main(args: argparse.Namespace) -> int:
    if args.one:
        print_result(measure_one(args))
        return 0
    words = ["-m", "benchmarks", "batch", "--export", str(args.export), "--users", str(args.users)]
    words += ["--data", str(args.data)] if args.data else []
    words += ["--model", args.model] if args.model else []
    show_progress(f"batches of {args.users:,} users")
    row = result_of([*words, "--windows", str(args.windows), "--seconds", str(args.seconds), "--one"])
    show_progress("")
    record(args.results, "batch", row)
    print(TABLES["batch"].as_text([row]))
    return 0
