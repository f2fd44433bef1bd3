"""Strong and weak scaling of training over ranks, the parts of a step's time, and a prediction for many GPUs.

Every rank has --threads cores, for any number of ranks. Strong: the global batch stays. Weak: the batch of each rank
stays. `scaling_rank` times the step with and without its exchange and its input; the differences are the communication
that compute does not hide and the waiting for input. Timed sums over ranks give a latency and a bandwidth (`link`). The
step predicted from one rank's compute and this link is printed beside the measured step. The last table predicts 8 to
1,024 GPUs from figures that NVIDIA published; nothing in it was measured here.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.link import fitted, gpu_prediction, predicted
from benchmarks.shapes import NEEDS_DATA, SHAPES
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import WarmUp, fields, in_rounds
from recsys_core.measuring.windows import ratios


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", choices=("vae", *SHAPES), default="vae", help="(default: %(default)s)")
    add("--data", type=Path, help="prepared data set, for the VAE-CF (as synthetic --like ml-20m-prepared)")
    add(
        "--batch-size",
        type=int,
        nargs="+",
        default=[2_048, 8_192],
        help="global (default: %(default)s)",
    )
    add("--ranks", type=int, nargs="+", default=[2], help="numbers of ranks besides one (default: %(default)s)")
    add("--threads", type=int, default=1, help="cores of each rank (default: %(default)s)")
    add("--precision", default="fp32", help="(default: %(default)s)")
    add("--rounds", type=int, default=3, help="(default: %(default)s)")
    add("--seconds", type=float, default=6.0, help="of each window (default: %(default)s)")
    add(
        "--latency-us",
        type=float,
        default=10.0,
        help="of a message between GPUs (default: %(default)s)",
    )


def _run_ranks(args: argparse.Namespace, ranks: int, batch: int) -> dict[str, Any]:
    show_progress(f"{ranks} ranks, batch {batch}")
    words = ["-m", "benchmarks.scaling_rank", "--model", args.model, "--batch-size", str(batch)]
    words += ["--precision", args.precision, "--seconds", str(args.seconds), "--rounds", "1"]
    words += ["--data", str(args.data)] if args.data else []
    return result_of(words, ranks=ranks, threads=args.threads)


def _merge_rounds(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rounds of one setting as one result."""
    seconds = {name: [s for job in jobs for s in job["seconds"][name]] for name in jobs[0]["seconds"]}
    sums = [
        {"bytes": first["bytes"], "seconds": [s for job in jobs for s in job["sums"][k]["seconds"]]}
        for k, first in enumerate(jobs[0]["sums"])
    ]
    about = {"peak_bytes": max(job["peak_bytes"] for job in jobs), "warm_ups": [job["warm_up"] for job in jobs]}
    return {**jobs[0], "seconds": seconds, "sums": sums, **about}


def split(seconds: Mapping[str, Sequence[float]], ranks: int) -> dict[str, list[float]]:
    """Seconds of a step by its parts, round by round. One rank has no communication."""
    whole = list(seconds["whole"])
    exposed = [max(0.0, a - b) if ranks > 1 else 0.0 for a, b in zip(whole, seconds["silent"], strict=True)]
    waiting = [max(0.0, a - b) for a, b in zip(whole, seconds["fed"], strict=True)]
    return {
        "step": whole,
        "compute": [a - b - c for a, b, c in zip(whole, exposed, waiting, strict=True)],
        "exposed_communication": exposed,
        "input": waiting,
        "exchange_alone": list(seconds["exchange"]),
    }


def plan(batches: Sequence[int], ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Settings (ranks, global batch): one rank with each batch and each rank's share of it, and the ranks."""
    found = [(n, batch) for batch in batches for n in (1, *ranks)]
    found += [(1, batch // n) for batch in batches for n in ranks]
    return sorted(set(found), key=lambda setting: (setting[1], setting[0]))


def _rows_of(found: Mapping[tuple[int, int], dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for (ranks, batch), job in found.items():
        parts, whole = split(job["seconds"], ranks), job["seconds"]["whole"]
        row: dict[str, Any] = {"ranks": ranks, "batch_size": batch, **parts, "peak_gib": job["peak_bytes"] / 2**30}
        row["examples_per_second"] = [job["examples"] / s for s in whole]
        row["strong"] = row["weak"] = row["predicted"] = None
        if ranks > 1:
            row["strong"] = ratios(found[1, batch]["seconds"]["whole"], whole)
            alone = found[1, batch // ranks]
            row["weak"] = [ranks * r for r in ratios(alone["seconds"]["whole"], whole)]
            link = fitted(ranks, *_sizes_and_seconds(job))
            row["latency_us"], row["bandwidth_gb"] = 1e6 * link.latency, link.bandwidth / 1e9
            step = statistics.median(alone["seconds"]["whole"])
            row["predicted"] = predicted(step, link, ranks, job["gradient_bytes"])
        rows.append(row)
    return rows


def _sizes_and_seconds(job: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    return [s["bytes"] for s in job["sums"]], [statistics.median(s["seconds"]) for s in job["sums"]]


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    print(TABLES["scaling"].as_text(rows))
    for row in rows:
        if row["predicted"]:
            off = row["predicted"] / statistics.median(row["step"]) - 1
            print(
                f"{row['ranks']} ranks, batch {row['batch_size']}: a message takes {row['latency_us']:.0f} us, "
                f"{row['bandwidth_gb']:.2f} GB/s; the step predicted from that, nothing hidden: {off:+.0%}"
            )


def main(args: argparse.Namespace) -> int:
    if args.model == "vae" and not args.data:
        raise ValueError(NEEDS_DATA)
    jobs = {setting: partial(_run_ranks, args, *setting) for setting in plan(args.batch_size, args.ranks)}
    rounds = in_rounds({f"{ranks} ranks, batch {batch}": job for (ranks, batch), job in jobs.items()}, args.rounds)
    show_progress("")
    found = {setting: _merge_rounds(done) for setting, done in zip(jobs, rounds.values.values(), strict=True)}
    about = {"model": args.model, "precision": args.precision, "threads": args.threads}
    rows = [
        about
        | row
        | fields(rounds, [WarmUp(**warmed) for warmed in found[row["ranks"], row["batch_size"]]["warm_ups"]])
        for row in _rows_of(found)
    ]
    _print_rows(rows)
    for row in rows:
        record(args.results, "scaling", row)
    if args.model == "vae":
        _print_prediction(args)
    return 0


def _print_prediction(args: argparse.Namespace) -> None:
    gpus = gpu_prediction(args.latency_us * 1e-6)
    link = f"a link of {gpus[0]['bandwidth_gb']:.0f} GB/s"
    print(f"\nPREDICTED from what NVIDIA published for 1 and 8 A100 ({link}), not measured:")
    shown = [(r["gpus"], f"{r['strong']:,.0f}", f"{r['weak']:,.0f}") for r in gpus]
    print(tabulate(shown, headers=("GPUs", "users/s, batch 24,576", "users/s, 24,576 each")))
    record(args.results, "scaling-prediction", {"latency_us": args.latency_us, "rows": gpus})
