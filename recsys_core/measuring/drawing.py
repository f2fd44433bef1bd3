"""Plots of records with matplotlib, as SVG text. No display is needed."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from recsys_core.measuring.cells import Row

Plot = Callable[[Sequence[Row]], str]
"""Records -> SVG, or "" if none of them has the fields of the plot."""
BLUE, RED, GREY, GREEN = "#4878a8", "#c85a4a", "#b0b0b0", "#6aa56a"


def figure(draw: Callable[[Any], None], *, height: float = 3.6, rows: int = 1, columns: int = 1) -> str:
    """SVG of a figure on whose axes `draw` draws; it gets an array of axes if there are several."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    made, axes = plt.subplots(rows, columns, figsize=(8, height), layout="constrained")
    draw(axes)
    for own in made.axes:
        own.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    made.savefig(out, format="svg", bbox_inches="tight")
    plt.close(made)
    text = out.getvalue()
    return text[text.index("<svg") :]


def median_of(row: Row, name: str) -> float:
    """Median of the windows of a field."""
    return statistics.median(row[name])
