"""Training speed of our step and of a plain PyTorch one of the same shape, in turn on the same cores.

Both are whole steps: making the batch, forward, backward, Adam. PyTorch's (`torch_peer`) is the usual code: dense
histories, dense layers, `torch.optim.Adam`. Ratios are taken round by round. Needs the extra `peers`.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
from pathlib import Path
from typing import Any

from benchmarks.shapes import NEEDS_DATA, SHAPES
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.windows import ratios

PAIR = {"ours": "benchmarks.steps", "PyTorch": "benchmarks.torch_peer"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", nargs="+", default=["vae"], help=f"of: vae, {', '.join(SHAPES)} (default: vae)")
    add("--data", type=Path, help="prepared data set, for the VAE-CF (as synthetic --like ml-20m-prepared)")
    add("--batch-size", type=int, nargs="+", help="(default: 500 and 2000 users, 65536 samples)")
    add("--precision", nargs="+", default=["fp32"], help="fp32, bf16 (default: fp32)")
    add("--rounds", type=int, default=3, help="(default: %(default)s)")
    add("--seconds", type=float, default=8.0, help="of each window (default: %(default)s)")


def _check_arguments(args: argparse.Namespace) -> None:
    if unknown := [m for m in args.model if m not in ("vae", *SHAPES)]:
        raise ValueError(f"unknown --model {unknown[0]!r}, known are: vae, {', '.join(SHAPES)}")
    if "vae" in args.model and not args.data:
        raise ValueError(NEEDS_DATA)
    if importlib.util.find_spec("torch") is None:
        raise ValueError("PyTorch is not installed: pip install -e '.[peers]'")


def measure(model: str, batch: int, precision: str, args: argparse.Namespace) -> dict[str, Any]:
    """Examples/s of both, round by round, and their ratio."""
    words = ["--model", model, "--batch-size", str(batch), "--precision", precision, "--seconds", str(args.seconds)]
    words += ["--data", str(args.data)] if model == "vae" else []
    rates: dict[str, list[float]] = {name: [] for name in PAIR}
    peaks = dict.fromkeys(PAIR, 0.0)
    for k in range(args.rounds):
        for name, module in PAIR.items():
            show_progress(f"{model} {batch} {precision}: round {k + 1}, {name}")
            found = result_of(["-m", module, *words])
            rates[name].append(found["examples_per_second"])
            peaks[name] = max(peaks[name], found["peak_bytes"] / 2**30)
    return {
        "model": model,
        "batch_size": batch,
        "precision": precision,
        "examples_per_second": rates["ours"],
        "peer_examples_per_second": rates["PyTorch"],
        "ratio": ratios(rates["ours"], rates["PyTorch"]),
        "peak_gib": peaks["ours"],
        "peer_peak_gib": peaks["PyTorch"],
    }


def main(args: argparse.Namespace) -> int:
    _check_arguments(args)
    rows = []
    for model, precision in itertools.product(args.model, args.precision):
        usual = (500, 2_000) if model == "vae" else (SHAPES[model].batch,)
        for batch in args.batch_size or usual:
            rows.append(measure(model, batch, precision, args))
            record(args.results, "peers", rows[-1])
    show_progress("")
    print(TABLES["peers"].as_text(rows))
    return 0
