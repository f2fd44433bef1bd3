"""Drawing with matplotlib to SVG text. No display is needed."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Drawn: TypeAlias = Callable[[Sequence[Row]], str]
"""Records -> SVG."""
BLUE, RED, GREY, GREEN = "#4878a8", "#c85a4a", "#b0b0b0", "#6aa56a"


def figure(draw: Callable[[Any], None], *, height: float = 3.6, rows: int = 1, columns: int = 1) -> str:
    """SVG of what `draw` puts on axes; on an array of them if there are several."""
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
    drawn = out.getvalue()
    return drawn[drawn.index("<svg") :]


def middle(row: Row, name: str) -> float:
    """Median of a record's windows."""
    return statistics.median(row[name])
