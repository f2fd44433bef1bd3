"""Strong and weak scaling of training over ranks, where the time of a step goes, and what the same step would do on
many GPUs.

Every rank has --threads cores whatever the number of ranks. Strong: the global batch stays. Weak: the batch of each
rank stays. A step's time is split by leaving things out (see `scaling_rank`): compute, communication that nothing
hides, waiting for input. Times of sums over ranks give a latency and a bandwidth (a ring: 2 (n - 1) messages, each of
the bytes over n); the model built from one rank's step and these two numbers is checked against the measured steps,
and then set to NVIDIA's published figures to say what 8 to 1,024 GPUs might do. That last table is a prediction.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks.measure import announce, ratios, result_of
from benchmarks.results import tables
from benchmarks.results.records import record
from benchmarks.training.shapes import HIDDEN, LATENT, SHAPES

A100_USERS_PER_SECOND = (354_032, 1_660_700)
"""Published for VAE-CF on ML-20M in TF32: one A100 with batch 24,576, eight with 3,072 each."""
A100_BATCH = 24_576
ML20M_ITEMS = 20_108
GPUS = (1, 8, 16, 64, 256, 1_024)


@dataclass(frozen=True)
class Link:
    """What a sum over ranks costs."""

    latency: float
    """Seconds of a message."""
    bandwidth: float
    """Bytes/s."""

    def seconds(self, ranks: int, size: float) -> float:
        """Of a ring sum of `size` bytes (Thakur et al. 2005, section 4.4: without the term of the addition)."""
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)


def fitted(ranks: int, sizes: Sequence[float], seconds: Sequence[float]) -> Link:
    """The link that explains measured sums best, in relative terms."""
    # seconds = a + b * size, with rows divided by the measured time; two positive unknowns.
    from scipy.optimize import nnls

    measured = np.asarray(seconds)
    table = np.stack([np.ones(len(sizes)), np.asarray(sizes, float)], axis=1) / measured[:, None]
    (constant, slope), _ = nnls(table, np.ones(len(sizes)))
    messages = 2 * (ranks - 1)
    return Link(constant / messages, messages / ranks / slope if slope else float("inf"))


def from_published(gradient_bytes: float, latency: float) -> Link:
    """The link that explains what eight published A100 lose against one, nothing hidden and at a given latency."""
    one, eight = A100_USERS_PER_SECOND
    compute = A100_BATCH / 8 / one
    exchange = A100_BATCH / eight - compute
    return Link(latency, gradient_bytes / 8 / (exchange / 14 - latency))


def predicted(compute: float, link: Link, ranks: int, size: float, hidden: float = 0.0) -> float:
    """Seconds of a step: its compute, and the exchange less the part that compute hides.

    Args:
        compute: seconds of a step on one rank with that rank's batch.
        hidden: share of the exchange that goes on beside compute.
    """
    return compute + (1 - hidden) * link.seconds(ranks, size)


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
    add("--ranks", type=int, nargs="+", default=[2], help="beside one (default: %(default)s)")
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


def _job(args: argparse.Namespace, ranks: int, batch: int) -> dict[str, Any]:
    words = ["-m", "benchmarks.training.scaling_rank", "--model", args.model, "--batch-size", str(batch)]
    words += ["--precision", args.precision, "--seconds", str(args.seconds), "--rounds", "1"]
    words += ["--data", str(args.data)] if args.data else []
    return result_of(words, ranks=ranks, threads=args.threads)


def _merged(jobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several rounds of one setting as one."""
    seconds = {name: [s for job in jobs for s in job["seconds"][name]] for name in jobs[0]["seconds"]}
    sums = [
        {"bytes": first["bytes"], "seconds": [s for job in jobs for s in job["sums"][k]["seconds"]]}
        for k, first in enumerate(jobs[0]["sums"])
    ]
    return {**jobs[0], "seconds": seconds, "sums": sums, "peak_bytes": max(job["peak_bytes"] for job in jobs)}


def split(seconds: Mapping[str, Sequence[float]], ranks: int) -> dict[str, float]:
    """Seconds of a step by what they are spent on, medians over rounds. One rank has nobody to talk to."""
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    exposed = max(0.0, middle["whole"] - middle["silent"]) if ranks > 1 else 0.0
    waiting = max(0.0, middle["whole"] - middle["fed"])
    return {
        "step": middle["whole"],
        "compute": middle["whole"] - exposed - waiting,
        "exposed_communication": exposed,
        "input": waiting,
        "exchange_alone": middle["exchange"],
    }


def plan(batches: Sequence[int], ranks: Sequence[int]) -> list[tuple[int, int]]:
    """Settings (ranks, global batch): one rank with each batch and each rank's share of it, and the ranks."""
    found = [(n, batch) for batch in batches for n in (1, *ranks)]
    found += [(1, batch // n) for batch in batches for n in ranks]
    return sorted(set(found), key=lambda setting: (setting[1], setting[0]))


def _rows(found: Mapping[tuple[int, int], dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for (ranks, batch), job in found.items():
        parts, whole = split(job["seconds"], ranks), job["seconds"]["whole"]
        row = {"ranks": ranks, "batch_size": batch, **parts, "peak_gib": job["peak_bytes"] / 2**30}
        row["examples_per_second"] = [job["examples"] / s for s in whole]
        row["strong"] = row["weak"] = row["predicted"] = None
        if ranks > 1:
            row["strong"] = ratios(found[1, batch]["seconds"]["whole"], whole)
            alone = found[1, batch // ranks]
            row["weak"] = [ranks * r for r in ratios(alone["seconds"]["whole"], whole)]
            link = fitted(ranks, *_sums(job))
            row["latency_us"], row["bandwidth_gb"] = 1e6 * link.latency, link.bandwidth / 1e9
            row["predicted"] = predicted(split(alone["seconds"], 1)["step"], link, ranks, job["gradient_bytes"])
        rows.append(row)
    return rows


def _sums(job: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    return [s["bytes"] for s in job["sums"]], [statistics.median(s["seconds"]) for s in job["sums"]]


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    print(tables.text("scaling", rows))
    for row in rows:
        if row["predicted"]:
            off = row["predicted"] / row["step"] - 1
            print(
                f"{row['ranks']} ranks, batch {row['batch_size']}: a message takes {row['latency_us']:.0f} us, "
                f"{row['bandwidth_gb']:.2f} GB/s; the step predicted from that, nothing hidden: {off:+.0%}"
            )


def gpu_prediction(latency: float) -> list[dict[str, float]]:
    """Users/s of VAE-CF on many A100, from two published points: strong (batch 24,576) and weak (24,576 each)."""
    size = 4 * (2 * HIDDEN * ML20M_ITEMS + 3 * HIDDEN * LATENT)
    link = from_published(size, latency)
    rows = []
    for n in GPUS:
        strong = A100_BATCH / predicted(A100_BATCH / n / A100_USERS_PER_SECOND[0], link, n, size)
        weak = n * A100_BATCH / predicted(A100_BATCH / A100_USERS_PER_SECOND[0], link, n, size)
        rows.append({"gpus": n, "strong": strong, "weak": weak, "bandwidth_gb": link.bandwidth / 1e9})
    return rows


def main(args: argparse.Namespace) -> int:
    if args.model == "vae" and not args.data:
        raise ValueError(
            "--model vae needs --data DIR, a prepared data set (data_prep synthetic --like ml-20m-prepared)"
        )
    jobs: dict[tuple[int, int], list[dict[str, Any]]] = {s: [] for s in plan(args.batch_size, args.ranks)}
    for k in range(args.rounds):
        for (ranks, batch), done in jobs.items():
            announce(f"round {k + 1} of {args.rounds}: {ranks} ranks, batch {batch}")
            done.append(_job(args, ranks, batch))
    announce("")
    about = {"model": args.model, "precision": args.precision, "threads": args.threads}
    rows = [about | row for row in _rows({setting: _merged(done) for setting, done in jobs.items()})]
    _print(rows)
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
