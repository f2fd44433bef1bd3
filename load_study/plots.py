"""The plots of inference under load by kind of record. Each takes the records and the width of the page in inches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from load_study.operator_kinds import KINDS
from recsys_core.measuring.cells import Row
from recsys_core.measuring.drawing import (
    BLUE,
    COLOURS,
    GREY,
    RED,
    Plot,
    legend_below,
    log_ticks,
    medians_and_bars,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OPEN_END = 1.6
"""An interval without an upper end is drawn up to this multiple of the value, with an arrow."""


def _grouped(rows: Sequence[Row], *names: str) -> dict[str, list[Row]]:
    """Text of some fields -> the rows that share them."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(", ".join(str(row[name]) for name in names), []).append(row)
    return found


def load(rows: Sequence[Row], width: float) -> Figure | None:
    """Tail latency over the offered rate, a line for each model, engine and loop."""
    rows = [row for row in rows if row.get("p95_s")]
    if not rows:
        return None
    figure, (axes,) = panels(width, height=3.8)
    lines = _grouped(rows, "model", "engine", "target", "loop")
    for (name, points), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        _draw_load(axes, f"{name} loop", points, colour)
    axes.set(xlabel="offered load (queries/s)", ylabel="95th percentile of latency (ms)", yscale="log")
    log_ticks(axes.yaxis)
    legend_below(figure, axes)
    return figure


def _draw_load(axes: Axes, name: str, points: Sequence[Row], colour: str) -> None:
    points = sorted(points, key=lambda row: row["offered_rate"])
    x = np.array([row["offered_rate"] for row in points])
    values = 1e3 * np.array([[v, low, high or OPEN_END * v] for v, low, high in (row["p95_s"] for row in points)])
    bars = [values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]]
    style = "o-" if "open" in name else "s--"
    axes.errorbar(x, values[:, 0], yerr=bars, fmt=style, color=colour, capsize=3, label=name, markersize=4)
    endless = np.array([row["p95_s"][2] is None for row in points])
    axes.plot(x[endless], values[endless, 2], "^", color=colour, markersize=7)


def schedule(rows: Sequence[Row], width: float) -> Figure | None:
    """The highest rate of every split, between the rate that met the target and the one that missed it; all trials."""
    figure, axes = panels(width, height=3.2, count=len(rows), columns=1)
    for row, own in zip(rows, axes, strict=True):
        _draw_schedule(own, row)
    legend_below(figure, axes[0])
    return figure


def _draw_schedule(axes: Axes, row: Row) -> None:
    splits: dict[tuple[int, int], list[Row]] = {}
    for point in row["points"]:
        splits.setdefault((point["split"], point["offload_above"] or 0), []).append(point)
    places = {name: k for k, name in enumerate(sorted(splits))}
    styles: tuple[tuple[bool, dict[str, Any]], ...] = (
        (True, {"color": BLUE, "label": "rate tried, target met"}),
        (False, {"markerfacecolor": "none", "color": GREY, "label": "rate tried, target missed"}),
    )
    for met, style in styles:
        tried = [(places[name], p["rate"]) for name, points in splits.items() for p in points if p["meets"] == met]
        axes.plot([x for x, _ in tried], [y for _, y in tried], "o", markersize=4, **style)
    for name, points in splits.items():
        low, high = _highest_rate(points)
        best = name == (row["best_split"], row["best_offload_above"] or 0) and bool(row["rate"])
        style = {"marker": "*", "markersize": 11, "label": "best split"} if best else {"marker": "_", "markersize": 10}
        bars = [[0.0], [high - low]]
        axes.errorbar([places[name]], [low], yerr=bars, color=RED if best else BLUE, capsize=5, zorder=3, **style)
    axes.set_xticks(range(len(places)), [f"{s:,}\n>{o:,}" if o else f"{s:,}" for s, o in places], fontsize=8)
    axes.set_xlim(-0.5, len(places) - 0.5)
    simulated = " (simulated accelerator)" if row["is_simulated"] else ""
    axes.set_title(f"{row['model']}, p{100 * row['level']:g} < {row['target_ms']:g} ms{simulated}", fontsize=10)
    axes.set(xlabel="split of queries (items)", ylabel="rate (queries/s)", ylim=(0, None))


def _highest_rate(points: Sequence[Row]) -> tuple[float, float]:
    """The highest rate that met the target (0 if none did), and the lowest one above it that missed it."""
    low = max([p["rate"] for p in points if p["meets"]], default=0.0)
    return low, min([p["rate"] for p in points if not p["meets"] and p["rate"] > low], default=low)


def operators(rows: Sequence[Row], width: float) -> Figure | None:
    """Stacked shares by batch size, a panel for each model and engine."""
    found = _grouped(rows, "model", "engine")
    figure, axes = panels(width, height=2.6, count=len(found))
    for (name, panel), own in zip(found.items(), axes, strict=True):
        labels, below = [f"{row['batch']:,}" for row in panel], np.zeros(len(panel))
        for kind, colour in zip(KINDS, COLOURS, strict=True):
            parts = np.array([100 * row["shares"].get(kind, 0.0) for row in panel])
            own.bar(labels, parts, bottom=below, label=kind, color=colour)
            below += parts
        own.set_title(name, fontsize=10)
        own.set(ylim=(0, 100), xlabel="batch (examples)", ylabel="share of time (%)")
    legend_below(figure, axes[0], columns=4)
    return figure


def platforms(rows: Sequence[Row], width: float) -> Figure | None:
    """Speed-up over TensorFlow by batch size, a panel for each model."""
    from matplotlib.ticker import NullLocator

    found = _grouped(rows, "model")
    figure, axes = panels(width, height=3.0, count=len(found))
    for (name, panel), own in zip(found.items(), axes, strict=True):
        engines = _grouped(panel, "engine")
        for (engine, points), colour in zip(engines.items(), COLOURS * len(engines), strict=False):
            middle, bars = medians_and_bars([row["speed_up"] for row in points])
            x = [row["batch"] for row in points]
            own.errorbar(x, middle, yerr=bars, fmt="o-", color=colour, label=engine, markersize=4, capsize=3)
        own.set_title(name, fontsize=10)
        own.axhline(1, color="black", linewidth=1, linestyle=":")
        own.set(xscale="log", yscale="log", xlabel="batch (examples)", ylabel="speed-up (factor)")
        log_ticks(own.yaxis)
        own.set_xticks(sorted({row["batch"] for row in panel}))
        own.xaxis.set_major_formatter("{x:,.0f}")
        own.xaxis.set_minor_locator(NullLocator())
    legend_below(figure, axes[0], columns=4)
    return figure


PLOTS: Mapping[str, Plot] = {
    "load": Plot(
        draw=load,
        caption="Latency at each offered rate with its 95 % interval from batch means. An arrow: too few queries for "
        "an upper end.",
    ),
    "schedule": Plot(
        draw=schedule,
        caption="Each split of the queries: all rates that were tried, and a bar from the highest rate that met the "
        "target to the lowest that missed it; the highest possible rate lies between them.",
    ),
    "operators": Plot(
        draw=operators,
        caption="Shares of the time inside operators, means of one profile of 10 requests (no repeated windows, so no "
        "interval).",
    ),
    "platforms": Plot(
        draw=platforms,
        caption="Median over the rounds; bars from the lowest to the highest round. Above the dotted line the "
        "engine is faster than TensorFlow.",
    ),
}
