"""Training speed of our step and of PyTorch's of the same shape, in turn on the same cores.

Both are whole steps: making the batch, forward, backward, Adam. A row names the difference between its sides: "none"
means the same updates of the same parameters from batches of the same form. Our updates of single rows are compared
with `torch.optim.SparseAdam`, those of whole tables with the fused `torch.optim.Adam`. Ratios are taken round by round.
Needs the extra `peers`.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.shapes import NEEDS_DATA, SHAPES
from benchmarks.tables import TABLES
from recsys_core.measuring.processes import result_of, show_progress
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import Rounds, WarmUp, fields, in_rounds
from recsys_core.measuring.windows import ratios

NONE = "none"
DENSE_INPUT = "PyTorch's histories are dense"
OTHER_ALGORITHM = "ours updates the rows looked up, PyTorch whole tables"


@dataclass(frozen=True)
class Pair:
    """A row of the table."""

    ours: str
    """`--gradients` of our step: dense or rows."""
    peer: str
    """Of `torch_peer.WAYS`."""
    difference: str = NONE


VAE_PAIRS = (
    Pair("dense", "bag"),
    Pair("dense", "adam", DENSE_INPUT),
    Pair("dense", "fused", DENSE_INPUT),
    Pair("dense", "compiled", DENSE_INPUT),
)
NCF_PAIRS = (
    Pair("dense", "fused"),
    Pair("dense", "compiled"),
    Pair("rows", "sparse"),
    Pair("rows", "adam", OTHER_ALGORITHM),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", nargs="+", default=["vae"], help=f"of: vae, {', '.join(SHAPES)} (default: vae)")
    add("--data", type=Path, help="prepared data set, for the VAE-CF (as synthetic --like ml-20m-prepared)")
    add("--batch-size", type=int, nargs="+", help="(default: 500 and 2000 users, 65536 samples)")
    add("--precision", nargs="+", default=["fp32"], help="fp32, bf16 (default: fp32)")
    add("--peer", nargs="+", metavar="WAY", help="of: adam, fused, compiled, bag, sparse (default: all of the model)")
    add("--rounds", type=int, default=3, help="(default: %(default)s)")
    add("--seconds", type=float, default=8.0, help="of each window (default: %(default)s)")


def pairs_of(model: str, ways: Sequence[str] | None) -> list[Pair]:
    """The rows of a model.

    Raises:
        ValueError: none of the ways is one of this model.
    """
    pairs = VAE_PAIRS if model == "vae" else NCF_PAIRS
    found = [pair for pair in pairs if ways is None or pair.peer in ways]
    if not found:
        known = ", ".join(pair.peer for pair in pairs)
        raise ValueError(f"--peer {' '.join(ways or ())}: nothing to measure for {model}, known are: {known}")
    return found


def _check_arguments(args: argparse.Namespace) -> None:
    if unknown := [m for m in args.model if m not in ("vae", *SHAPES)]:
        raise ValueError(f"unknown --model {unknown[0]!r}, known are: vae, {', '.join(SHAPES)}")
    if "vae" in args.model and not args.data:
        raise ValueError(NEEDS_DATA)
    for model in args.model:
        pairs_of(model, args.peer)
    if importlib.util.find_spec("torch") is None:
        raise ValueError("PyTorch is not installed: pip install -e '.[peers]'")


def _side(words: Sequence[str], module: str, more: Sequence[str]) -> dict[str, Any]:
    show_progress(f"{words[1]} {words[3]} {words[5]}: {module.split('.')[-1]} {more[1]}")
    return result_of(["-m", module, *words, *more])


def measure(model: str, batch: int, precision: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a setting: every side once a round, and the ratio of each pair in each round."""
    words = ["--model", model, "--batch-size", str(batch), "--precision", precision, "--seconds", str(args.seconds)]
    words += ["--data", str(args.data)] if model == "vae" else []
    pairs = pairs_of(model, args.peer)
    if any(pair.peer == "compiled" for pair in pairs):
        try:
            _side([*words, "--seconds", "0"], "benchmarks.torch_peer", ["--way", "compiled"])
        except RuntimeError as error:
            print(f"left out: torch.compile does not work here: {str(error).splitlines()[-1]}", file=sys.stderr)
            pairs = [pair for pair in pairs if pair.peer != "compiled"]
    sides = {f"ours {p.ours}": partial(_side, words, "benchmarks.steps", ["--gradients", p.ours]) for p in pairs}
    sides |= {f"peer {p.peer}": partial(_side, words, "benchmarks.torch_peer", ["--way", p.peer]) for p in pairs}
    rounds = in_rounds(sides, args.rounds)
    about = {"model": model, "batch_size": batch, "precision": precision}
    return [about | _row(pair, rounds) for pair in pairs]


def _row(pair: Pair, rounds: Rounds[dict[str, Any]]) -> dict[str, Any]:
    ours, peer = rounds.values[f"ours {pair.ours}"], rounds.values[f"peer {pair.peer}"]
    rates = [[found["examples_per_second"] for found in side] for side in (ours, peer)]
    peaks = [max(found["peak_bytes"] for found in side) / 2**30 for side in (ours, peer)]
    return {
        **vars(pair),
        "examples_per_second": rates[0],
        "peer_examples_per_second": rates[1],
        "ratio": ratios(*rates),
        "peak_gib": peaks[0],
        "peer_peak_gib": peaks[1],
        **fields(rounds, [WarmUp(**found["warm_up"]) for found in (*ours, *peer)]),
    }


def main(args: argparse.Namespace) -> int:
    _check_arguments(args)
    rows = []
    for model, precision in itertools.product(args.model, args.precision):
        usual = (500, 2_000) if model == "vae" else (SHAPES[model].batch,)
        for batch in args.batch_size or usual:
            found = measure(model, batch, precision, args)
            for row in found:
                record(args.results, "peers", row)
            rows += found
    show_progress("")
    print(TABLES["peers"].as_text(rows))
    return 0
