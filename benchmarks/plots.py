"""The plots of the benchmarks by kind of record, as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsys_core.measuring.cells import Row
from recsys_core.measuring.drawing import BLUE, GREEN, GREY, RED, Plot, figure, median_of


def ladder(rows: Sequence[Row]) -> str:
    """Users/s of every rung, with the spread over rounds."""

    def draw(axes: Any) -> None:
        centre = [median_of(row, "users_per_second") for row in rows]
        low = [m - min(row["users_per_second"]) for m, row in zip(centre, rows, strict=True)]
        high = [max(row["users_per_second"]) - m for m, row in zip(centre, rows, strict=True)]
        bars = axes.bar([row["rung"]["name"] for row in rows], centre, yerr=[low, high], capsize=4, color=BLUE)
        axes.bar_label(bars, [f"{median_of(row, 'overall'):.1f}x" for row in rows], padding=3)
        axes.set_ylabel("users/s")
        axes.set_ylim(0, 1.15 * max(m + h for m, h in zip(centre, high, strict=True)))
        axes.tick_params(axis="x", labelsize=9)

    return figure(draw)


def scaling(rows: Sequence[Row]) -> str:
    """Where the time of a step goes, for every number of ranks and batch."""

    def draw(axes: Any) -> None:
        names = [f"{row['ranks']} x {row['batch_size'] // row['ranks']:,}" for row in rows]
        left = [0.0] * len(rows)
        parts = (("compute", "compute", BLUE), ("exposed_communication", "exposed communication", RED))
        for part, label, colour in (*parts, ("input", "input", GREY)):
            widths = [1e3 * row[part] for row in rows]
            axes.barh(names, widths, left=left, label=label, color=colour)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_xlabel("ms a step")
        axes.set_ylabel("ranks x batch of each")
        axes.invert_yaxis()
        axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))

    return figure(draw, height=0.9 + 0.5 * len(rows))


def _roofline(rows: Sequence[Row], rate: str, label: Callable[[Row], str]) -> str:
    """Operations/s over operations a byte: the roof that each row measured, and its step under it.

    Args:
        rate: name of the field of examples/s.
        label: the text of a row in the legend.
    """
    rows = [row for row in rows if "operations_per_byte" in row]
    if not rows:
        return ""

    def draw(axes: Any) -> None:
        import numpy as np

        reach = [row["operations_per_byte"] for row in rows] + [row["ridge"] for row in rows]
        x = np.geomspace(min(reach) / 4, max(reach) * 4, 200)
        for row, colour in zip(rows, [BLUE, RED, GREEN, "#8a6aa5"] * len(rows), strict=False):
            roof = np.minimum(median_of(row, "gemm_gflops"), x * median_of(row, "memory_gb_per_second"))
            axes.plot(x, roof, color=colour, linewidth=1, alpha=0.6)
            reached = median_of(row, rate) * row["operations"] / 1e9
            axes.plot([row["operations_per_byte"]], [reached], "o", color=colour, label=label(row))
        axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s")
        axes.legend(frameon=False)

    return figure(draw, height=4.2)


def train(rows: Sequence[Row]) -> str:
    """Roofline of the VAE-CF step."""
    return _roofline(rows, "users_per_second", lambda row: f"batch {row['batch_size']:,}, {row['precision']}")


def ncf(rows: Sequence[Row]) -> str:
    """Roofline of the NeuMF step."""
    return _roofline(
        rows, "samples_per_second", lambda row: f"{row['shape']}, batch {row['batch_size']:,}, {row['precision']}"
    )


def peers(rows: Sequence[Row]) -> str:
    """How many times as fast as PyTorch."""

    def draw(axes: Any) -> None:
        names = [f"{row['model']}, {row['batch_size']:,}, {row['precision']}" for row in rows]
        bars = axes.barh(names, [median_of(row, "ratio") for row in rows], color=BLUE)
        axes.bar_label(bars, fmt="%.1fx", padding=3)
        axes.axvline(1, color=GREY, linewidth=1)
        axes.set_xlabel("our examples/s over PyTorch's")
        axes.invert_yaxis()

    return figure(draw, height=0.8 + 0.45 * len(rows))


PLOTS: Mapping[str, Plot] = {
    "speedup": ladder,
    "scaling": scaling,
    "train": train,
    "ncf": ncf,
    "peers": peers,
}
