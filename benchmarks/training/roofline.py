"""What bounds a training step here: its operations at the rate of matrix products, or its bytes at that of memory.

Bytes are those that no program avoids (Williams et al. 2009 count what passes to memory): the optimiser's pass over
every parameter, and of embedding tables the rows a sample reads and sums. All rates are measured in turn.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ratios, result_of
from benchmarks.results import tables
from benchmarks.results.records import record
from benchmarks.training.shapes import SHAPES, ncf_least_bytes, ncf_operations, vae_least_bytes, vae_operations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared data set, as synthetic --like ml-20m-prepared")
    add("--batch-size", type=int, default=2_000, help="of VAE-CF (default: %(default)s)")
    add("--precision", nargs="+", default=["fp32"], help="(default: fp32)")
    add("--seconds", type=float, default=4.0, help="of each window (default: %(default)s)")


def bound(
    operations: float, size: float, gemm: Sequence[float], memory: Sequence[float], rate: Sequence[float]
) -> dict[str, Any]:
    """Where a step stands under the roof.

    Args:
        operations, size: of an example (size in bytes).
        gemm: operations/s; memory: bytes/s; rate: examples/s reached; window by window.
    """
    limits = [1 / max(operations / g, size / m) for g, m in zip(gemm, memory, strict=True)]
    ridge = statistics.median(g / m for g, m in zip(gemm, memory, strict=True))
    return {
        "operations": operations,
        "bytes": size,
        "operations_per_byte": operations / size,
        "ridge": ridge,
        "bound": "compute" if operations / size > ridge else "memory",
        "gemm_gflops": [g / 1e9 for g in gemm],
        "memory_gb_per_second": [m / 1e9 for m in memory],
        "limit_per_second": limits,
        "examples_per_second": list(rate),
        "share_of_limit": ratios(rate, limits),
    }


def _run(words: Sequence[str]) -> dict[str, Any]:
    return result_of(["-m", "benchmarks", *words, "--one"])


def _rates(found: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    return [1e9 * g for g in found["gemm_gflops"]], [1e9 * m for m in found["memory_gb_per_second"]]


def measure(args: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """VAE-CF and every shape of NCF."""
    common = ["--precision", precision, "--seconds", str(args.seconds)]
    found = _run(["train", "--data", str(args.data), "--batch-size", str(args.batch_size), *common])
    need = vae_operations(found["n_items"]), vae_least_bytes(found["n_items"], args.batch_size)
    rows = [
        {"model": "VAE-CF", "batch_size": args.batch_size, "precision": precision}
        | bound(*need, *_rates(found), found["users_per_second"])
    ]
    for name, shape in SHAPES.items():
        found = _run(["ncf", "--shape", name, "--batch-size", str(shape.batch), *common])
        need = ncf_operations(shape, shape.batch), ncf_least_bytes(shape, shape.batch)
        rows.append(
            {"model": name, "batch_size": shape.batch, "precision": precision}
            | bound(*need, *_rates(found), found["samples_per_second"])
        )
    return rows


def main(args: argparse.Namespace) -> int:
    rows = [row for precision in args.precision for row in measure(args, precision)]
    for row in rows:
        record(args.results, "roofline", row)
    print(tables.text("roofline", rows))
    return 0
