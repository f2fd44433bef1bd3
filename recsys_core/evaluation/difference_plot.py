"""Picture of paired differences with their intervals. No display is needed, and pyplot is not used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from recsys_core.errors import UserError
from recsys_core.files import publish

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
HIGHER, LOWER, UNDECIDED = "tab:blue", "tab:orange", "tab:gray"
ROW, FRAME = 0.34, 1.5
"""Inches for each difference, and for title and axis."""
DPI = 150


def check_name(path: Path) -> None:
    """Refuse a name whose ending is no known format.

    Raises:
        UserError: names the known formats.
    """
    if path.suffix.lower().lstrip(".") not in FORMATS:
        raise UserError(f"--picture is {str(path)!r}, expected a name that ends in one of: .{', .'.join(FORMATS)}")


def draw(path: Path, table: pd.DataFrame, reference: str, metric: str, confidence: float) -> None:
    """Write the picture, whole or not at all.

    Raises:
        UserError: the place cannot be written.
    """
    figure = difference_figure(table, reference, metric, confidence)
    publish(path, lambda p: figure.savefig(p, format=path.suffix.lower().lstrip("."), dpi=DPI, bbox_inches="tight"))


def difference_figure(table: pd.DataFrame, reference: str, metric: str, confidence: float) -> Figure:
    """A row for each model, best first: its difference to the reference, and the interval.

    Args:
        table: as `compare.compare_runs` gives it.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = table.drop(index=reference).sort_values("difference")
    figure = Figure(figsize=(7.5, FRAME + ROW * len(rows)))
    axes = figure.add_subplot()
    ends = zip(rows["low"], rows["high"], strict=True)
    colours = [HIGHER if low > 0 else LOWER if high < 0 else UNDECIDED for low, high in ends]
    for place, (colour, row) in enumerate(zip(colours, rows.itertuples(), strict=True)):
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row.difference, place, "o", color=colour, markersize=6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), list(rows.index))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(f"{metric}: difference to {reference}, with {100 * confidence:g} % interval")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", linewidth=0.4, alpha=0.6)
    names = {HIGHER: "higher", LOWER: "lower", UNDECIDED: "interval holds 0"}
    marks = [Line2D([], [], color=c, marker="o", label=names[c]) for c in names if c in colours]
    axes.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(marks), frameon=False)
    return figure
