"""The plots of inference under load by kind of record, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from load_study.operator_kinds import KINDS
from recsys_core.measuring.cells import Row
from recsys_core.measuring.drawing import BLUE, GREEN, GREY, RED, Plot, figure, median_of

COLOURS = (BLUE, RED, GREEN, "#8a6aa5", "#d8a24a", "#6ab0b8", "#b07a6a", GREY)


def load(rows: Sequence[Row]) -> str:
    """Tail latency over the offered rate, a line for each model, engine and loop; bars are 95 % intervals."""

    def draw(axes: Any) -> None:
        lines: dict[str, list[Row]] = {}
        for row in rows:
            if row.get("p95_s"):
                name = ", ".join([row["model"], row["engine"], row["target"], f"{row['loop']} loop"])
                lines.setdefault(name, []).append(row)
        for (name, points), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
            points = sorted(points, key=lambda row: row["offered_rate"])
            x, y = [row["offered_rate"] for row in points], [row["p95_s"] for row in points]
            values = np.array([[1e3 * v, 1e3 * low, 1e3 * (high or v)] for v, low, high in y])
            spread = [values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]]
            style = "o-" if "open" in name else "s--"
            axes.errorbar(x, values[:, 0], yerr=spread, fmt=style, color=colour, capsize=3, label=name, markersize=4)
        axes.set(xlabel="queries/s offered", ylabel="p95 latency, ms", yscale="log")
        if lines:
            axes.legend(frameon=False, fontsize=8)

    return figure(draw, height=4.2)


def schedule(rows: Sequence[Row]) -> str:
    """All trials: rate over split; hollow where the target was missed."""
    count = len(rows)

    def draw(grid: Any) -> None:
        for row, axes in zip(rows, np.atleast_1d(grid), strict=True):
            points = row["points"]
            names = sorted({(p["split"], p["offload_above"] or 0) for p in points})
            places = {name: k for k, name in enumerate(names)}
            x = np.array([places[p["split"], p["offload_above"] or 0] for p in points])
            y, tail = np.array([p["rate"] for p in points]), np.array([p["tail_ms"] for p in points])
            met = np.array([p["meets"] for p in points])
            limits = {"vmin": 0, "vmax": row["target_ms"], "cmap": "viridis", "s": 32}
            drawn = axes.scatter(x[met], y[met], c=tail[met], **limits)
            axes.scatter(x[~met], y[~met], facecolors="none", edgecolors=RED, s=32)
            best = (row["best_split"], row["best_offload_above"] or 0)
            if row["rate"]:
                axes.scatter([places[best]], [row["rate"]], marker="*", s=130, color=RED, zorder=3)
            axes.set_xticks(range(len(names)), [f"{s}\n>{o}" if o else str(s) for s, o in names], fontsize=8)
            simulated = " (simulated accelerator)" if row["is_simulated"] else ""
            axes.set_title(f"{row['model']}, p{100 * row['level']:g} < {row['target_ms']:g} ms{simulated}", fontsize=10)
            axes.set(xlabel="split", ylabel="queries/s", ylim=(0, None))
            axes.figure.colorbar(drawn, ax=axes, label="tail, ms")

    return figure(draw, height=3.2 * count, rows=count)


def operators(rows: Sequence[Row]) -> str:
    """Stacked shares by batch size, a panel for each model and engine."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((row["model"], row["engine"]), []).append(row)

    def draw(grid: Any) -> None:
        for (name, panel), axes in zip(panels.items(), np.atleast_1d(grid).ravel(), strict=False):
            labels, below = [str(row["batch"]) for row in panel], np.zeros(len(panel))
            for kind, colour in zip(KINDS, COLOURS, strict=True):
                parts = np.array([100 * row["shares"].get(kind, 0.0) for row in panel])
                axes.bar(labels, parts, bottom=below, label=kind, color=colour)
                below += parts
            axes.set_title(", ".join(name), fontsize=9)
            axes.set_ylim(0, 100)
            axes.set(xlabel="batch", ylabel="% of time")
            axes.tick_params(labelsize=8)
        flat = np.atleast_1d(grid).ravel()
        for axes in flat[len(panels) :]:
            axes.set_visible(False)
        handles, labels = flat[0].get_legend_handles_labels()
        flat[0].figure.legend(handles, labels, frameon=False, ncols=len(KINDS), fontsize=8, loc="outside lower center")

    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    return figure(draw, height=2.4 * lines + 0.6, rows=lines, columns=columns)


def platforms(rows: Sequence[Row]) -> str:
    """Speed-up over TensorFlow by batch size, a panel for each model."""
    panels: dict[str, list[Row]] = {}
    for row in rows:
        panels.setdefault(row["model"], []).append(row)

    def draw(grid: Any) -> None:
        flat = np.atleast_1d(grid).ravel()
        for (name, panel), axes in zip(panels.items(), flat, strict=False):
            engines = list(dict.fromkeys(row["engine"] for row in panel))
            for engine, colour in zip(engines, COLOURS, strict=False):
                own = [row for row in panel if row["engine"] == engine]
                batches, speed_ups = [row["batch"] for row in own], [median_of(row, "speed_up") for row in own]
                axes.plot(batches, speed_ups, "o-", color=colour, label=engine, markersize=3)
            axes.set_title(name, fontsize=9)
            axes.set(xscale="log", ylabel="speed-up")
            axes.tick_params(labelsize=8)
            axes.legend(frameon=False, fontsize=7)
        for axes in flat[len(panels) :]:
            axes.set_visible(False)

    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    return figure(draw, height=2.4 * lines, rows=lines, columns=columns)


PLOTS: Mapping[str, Plot] = {
    "load": load,
    "schedule": schedule,
    "operators": operators,
    "platforms": platforms,
}
