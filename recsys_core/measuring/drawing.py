"""Plots of records with matplotlib, as SVG text. No display is needed, and pyplot is not used.

Every plot is drawn twice, for a wide page and for a telephone; the page shows the one that fits (`page.STYLE`).
"""

from __future__ import annotations

import html
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsys_core.measuring.cells import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, RED, GREY, GREEN = "#4878a8", "#c85a4a", "#b0b0b0", "#6aa56a"
COLOURS = (BLUE, RED, GREEN, "#8a6aa5", "#d8a24a", "#6ab0b8", "#b07a6a", GREY)
WIDE, NARROW = 8.0, 3.7
"""Widths of a plot in inches: 768 CSS pixels, and 355, which a window of 390 pixels shows without scaling."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot of a report."""

    draw: Callable[[Sequence[Row], float], Figure | None]
    """(records, width in inches) -> the figure; None if no record has its fields."""
    caption: str
    """What the marks are and what their bars mean."""

    def as_html(self, rows: Sequence[Row]) -> str:
        """The figure in both widths with its caption; "" if there is nothing to draw."""
        parts = []
        for name, width in (("wide", WIDE), ("narrow", NARROW)):
            figure = self.draw(rows, width)
            if figure is None:
                return ""
            parts.append(f"<div class={name}>{as_svg(figure, self.caption)}</div>")
        return f"<figure>{''.join(parts)}<figcaption>{html.escape(self.caption)}</figcaption></figure>"


def panels(width: float, *, height: float, count: int = 1, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of some panels; on a narrow page they stand below each other.

    Args:
        width, height: of the figure and of one row of panels, in inches.
        columns: panels beside each other on a wide page, at most.
    """
    from matplotlib.figure import Figure

    beside = 1 if width <= NARROW else min(columns, count)
    rows = -(-count // beside)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, beside, squeeze=False).ravel())
    for own in axes:
        own.spines[["top", "right"]].set_visible(False)
        own.tick_params(labelsize=9)
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def legend_below(figure: Figure, axes: Axes, *, columns: int = 3) -> None:
    """The legend of one panel below the figure, where it covers no point."""
    handles, labels = axes.get_legend_handles_labels()
    width = figure.get_size_inches()[0]
    longest = max([len(label) for label in labels], default=1)
    fitting = max(1, min(columns, int(width / (0.075 * longest + 0.6))))
    figure.set_size_inches(width, figure.get_size_inches()[1] + 0.2 * -(-len(labels) // fitting))
    figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=fitting, fontsize=9)


def log_ticks(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 of each decade of a logarithmic axis, written out, so that any range has some."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def medians_and_bars(windows: Sequence[Sequence[float]]) -> tuple[list[float], list[list[float]]]:
    """Medians, and the lengths of the bars [below, above] to minimum and maximum, as `yerr` takes them."""
    middle = [statistics.median(values) for values in windows]
    below = [m - min(values) for m, values in zip(middle, windows, strict=True)]
    above = [max(values) - m for m, values in zip(middle, windows, strict=True)]
    return middle, [below, above]


def as_svg(figure: Figure, label: str) -> str:
    """SVG with text as text, which stays sharp at any size and can be found and read aloud.

    Args:
        label: the description for those who do not see it.
    """
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue().replace("#000000", "currentColor")  # black on a light page, light on a dark one
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def median_of(row: Row, name: str) -> float:
    """Median of the windows of a field."""
    values: Any = row[name]
    return statistics.median(values) if isinstance(values, list) else float(values)
