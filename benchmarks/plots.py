"""The plots of the benchmarks by kind of record. Each takes the records and the width of the page in inches."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recsys_core.measuring.cells import Row
from recsys_core.measuring.drawing import (
    BLUE,
    COLOURS,
    GREY,
    NARROW,
    RED,
    Plot,
    legend_below,
    log_ticks,
    median_of,
    medians_and_bars,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ERROR_BARS: Mapping[str, Any] = {"ecolor": "black", "capsize": 4}


def _bars_with_factors(
    axes: Axes, names: Sequence[str], windows: Sequence[Sequence[float]], factors: Sequence[float]
) -> None:
    """Horizontal bars of medians from minimum to maximum; each factor stands right of its bar."""
    middle, ends = medians_and_bars(windows)
    axes.barh(names, middle, xerr=ends, color=BLUE, error_kw=ERROR_BARS, height=0.6)
    for k, factor in enumerate(factors):
        axes.annotate(
            f"{factor:.2g}x" if factor < 10 else f"{factor:.0f}x", (middle[k] + ends[1][k], k), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axes.set_xlim(0, 1.2 * max(m + above for m, above in zip(middle, ends[1], strict=True)))
    axes.invert_yaxis()


def ladder(rows: Sequence[Row], width: float) -> Figure | None:
    """Users/s of every rung."""
    figure, (axes,) = panels(width, height=0.9 + 0.42 * len(rows))
    factors = [median_of(row, "overall") for row in rows]
    _bars_with_factors(axes, [row["rung"]["name"] for row in rows], [row["users_per_second"] for row in rows], factors)
    axes.set(xlabel="training speed (users/s)")
    return figure


def _step_milliseconds(row: Row) -> list[float]:
    """The step in every round; its median alone where the record holds no rounds."""
    rates = row.get("examples_per_second") or [1.0]
    return [1e3 * median_of(row, "step") * statistics.median(rates) / rate for rate in rates]


def scaling(rows: Sequence[Row], width: float) -> Figure | None:
    """Where the time of a step goes, for every number of ranks and batch."""
    figure, (axes,) = panels(width, height=0.9 + 0.5 * len(rows))
    names = [f"{row['ranks']} x {row['batch_size'] // row['ranks']:,}" for row in rows]
    left = [0.0] * len(rows)
    parts = (("compute", "compute", BLUE), ("exposed_communication", "exposed communication", RED))
    for part, label, colour in (*parts, ("input", "input", GREY)):
        widths = [1e3 * median_of(row, part) for row in rows]
        axes.barh(names, widths, left=left, label=label, color=colour, height=0.6)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    middle, ends = medians_and_bars([_step_milliseconds(row) for row in rows])
    axes.errorbar(middle, range(len(rows)), xerr=ends, fmt="none", label="whole step", **ERROR_BARS)
    axes.set(xlabel="time of a step (ms)", ylabel="ranks x batch of each\n(examples)")
    axes.invert_yaxis()
    legend_below(figure, axes)
    return figure


def _roofline(rows: Sequence[Row], width: float, rate: str, label: Callable[[Row], str]) -> Figure | None:
    """Operations/s over operations a byte: the roof that each row measured, and its step under it.

    Args:
        rate: name of the field of examples/s.
        label: the text of a row in the legend.
    """
    rows = [row for row in rows if "operations_per_byte" in row]
    if not rows:
        return None
    import numpy as np

    figure, (axes,) = panels(width, height=3.8)
    reach = [row["operations_per_byte"] for row in rows] + [row["ridge"] for row in rows]
    x = np.geomspace(min(reach) / 4, max(reach) * 4, 200)
    for row, colour in zip(rows, COLOURS * len(rows), strict=False):
        roof = [
            np.minimum(of(row["gemm_gflops"]), x * of(row["memory_gb_per_second"]))
            for of in (min, statistics.median, max)
        ]
        axes.fill_between(x, roof[0], roof[2], color=colour, alpha=0.1, linewidth=0)
        axes.plot(x, roof[1], color=colour, linewidth=1, alpha=0.7)
        reached, ends = medians_and_bars([[value * row["operations"] / 1e9 for value in row[rate]]])
        at = [row["operations_per_byte"]]
        axes.errorbar(at, reached, yerr=ends, fmt="o", color=colour, capsize=4, markersize=5, label=label(row))
    axes.set(xscale="log", yscale="log", xlabel="intensity (FLOP/B)", ylabel="speed (GFLOP/s)")
    log_ticks(axes.yaxis)
    log_ticks(axes.xaxis)
    if width <= NARROW:
        axes.tick_params(axis="x", labelsize=7)
    legend_below(figure, axes)
    return figure


def train(rows: Sequence[Row], width: float) -> Figure | None:
    """Roofline of the VAE-CF step."""
    return _roofline(rows, width, "users_per_second", lambda row: f"batch {row['batch_size']:,}, {row['precision']}")


def ncf(rows: Sequence[Row], width: float) -> Figure | None:
    """Roofline of the NeuMF step."""
    return _roofline(
        rows,
        width,
        "samples_per_second",
        lambda row: f"{row['shape']}, batch {row['batch_size']:,}, {row['precision']}",
    )


def _sides(row: Row) -> str:
    """The sides of a row, marked where their algorithms or inputs differ."""
    return f"{row.get('ours', 'auto')} / {row.get('peer', 'adam')}{'' if row.get('difference') == 'none' else '*'}"


def peers(rows: Sequence[Row], width: float) -> Figure | None:
    """How many times as fast as PyTorch."""
    figure, (axes,) = panels(width, height=0.9 + 0.6 * len(rows))
    names = [f"{row['model']}, {row['batch_size']:,}, {row['precision']}\n{_sides(row)}" for row in rows]
    ratios = [median_of(row, "ratio") for row in rows]
    _bars_with_factors(axes, names, [row["ratio"] for row in rows], ratios)
    axes.axvline(1, color="black", linewidth=1, linestyle=":")
    axes.set(xlabel="speed over PyTorch's (ratio)")
    return figure


ROOFLINE_CAPTION = (
    "Dots: the step; lines: what the machine allows at this intensity, by its memory (rising) and by its matrix "
    "products (level). Bars and bands: minimum to maximum over the windows."
)
PLOTS: Mapping[str, Plot] = {
    "speedup": Plot(
        draw=ladder,
        caption="Median speed of each rung; the black bars go from the slowest to the fastest round. The factor is the "
        "gain over the first rung.",
    ),
    "scaling": Plot(
        draw=scaling,
        caption="Parts of a step, medians over the rounds; the black bar goes from the fastest to the slowest round of "
        "the whole step.",
    ),
    "train": Plot(draw=train, caption=ROOFLINE_CAPTION),
    "ncf": Plot(draw=ncf, caption=ROOFLINE_CAPTION),
    "peers": Plot(
        draw=peers,
        caption="Model, batch, precision; our side / PyTorch's, * where they differ in more than the program (see the "
        "table). Median ratio; the black bars go from the lowest to the highest round. Right of the dotted line our "
        "step is faster.",
    ),
}
