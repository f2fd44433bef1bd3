"""The first screen of the benchmarks' report: one box for each kind of record with its main figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys_core.measuring.cells import Row, first_of, having, of_windows
from recsys_core.measuring.drawing import median_of
from recsys_core.measuring.page import Tile
from recsys_core.measuring.report import Front

WHAT_IT_IS = "How fast this machine prepares data, trains, evaluates and serves recommendation models, and beside what."


def _step(rows: Sequence[Row], unit: str, name: str) -> Tile | None:
    """The fastest setting of a training step, beside the machine's limit."""
    rows = having(rows, f"{unit}_per_second", "share_of_limit", "batch_size", "precision")
    if not rows:
        return None
    best = max(rows, key=lambda row: median_of(row, f"{unit}_per_second"))
    return (
        f"{median_of(best, f'{unit}_per_second'):,.0f} {unit}/s",
        f"training step of {name}, batch {best['batch_size']:,}, {best['precision']}",
        f"{of_windows(best['share_of_limit'], '.0%')} of what the machine allows",
    )


def train(rows: Sequence[Row]) -> Tile | None:
    return _step(rows, "users", "VAE-CF")


def ncf(rows: Sequence[Row]) -> Tile | None:
    return _step(rows, "samples", "NeuMF")


def scaling(rows: Sequence[Row]) -> Tile | None:
    """The most ranks, beside the ideal."""
    rows = having(rows, "strong", "ranks", "batch_size")
    if not rows:
        return None
    best = max(rows, key=lambda row: (row["ranks"], median_of(row, "strong")))
    text = f"as fast as one rank: {best['ranks']} ranks, global batch {best['batch_size']:,}"
    return f"{of_windows(best['strong'], '.2f')} times", text, f"ideal: {best['ranks']}"


def peers(rows: Sequence[Row]) -> Tile | None:
    """The lowest ratio, so that no other is worse."""
    rows = having(rows, "ratio", "model", "batch_size", "precision")
    if not rows:
        return None
    low = min(rows, key=lambda row: median_of(row, "ratio"))
    text = f"the speed of PyTorch's step at the least ({low['model']}, batch {low['batch_size']:,}, {low['precision']})"
    return f"{of_windows(low['ratio'], '.2f')} times", text, f"the lowest of {len(rows)} settings"


def serve(rows: Sequence[Row]) -> Tile | None:
    """The shortest median of the smallest batch."""
    rows = having(rows, "engine", "batch", "p50_ms")
    if not rows:
        return None
    smallest = min(row["batch"] for row in rows)
    quick = min((row for row in rows if row["batch"] == smallest), key=lambda row: first_of(row["p50_ms"]))
    p99 = f"{first_of(quick['p99_ms']):.2f} ms at the 99th percentile" if quick.get("p99_ms") else ""
    return f"{first_of(quick['p50_ms']):.2f} ms", f"median answer of {quick['engine']}, batch {smallest}", p99


FRONT: Mapping[str, Front] = {"train": train, "ncf": ncf, "peers": peers, "scaling": scaling, "serve": serve}
