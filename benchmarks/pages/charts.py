"""The charts of the HTML page of results: accuracy beside baselines and published figures, and speed beside limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.pages.cells import Filler
from benchmarks.pages.committed import Row
from benchmarks.pages.layout import Layout
from benchmarks.pages.values import at, ends_of, middle_of
from recsys_core.measuring.drawing import BLUE, GREY, NARROW, RED, Plot, legend_below, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST = 22
"""Characters of a label beside a narrow chart; a longer one is cut."""
BARS: Mapping[str, Any] = {"fmt": "none", "ecolor": "black", "capsize": 3, "elinewidth": 1}


def _label(layout: Layout, row: Row, width: float) -> str:
    """The fields that name a row, without the marks of code."""
    texts = [str(at(row.values, name)) for name in layout.rows]
    text = ", ".join(layout.names.get(text, text) for text in texts).replace("`", "").replace(", preset ", ", ")
    return text if width > NARROW or len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _x_label(axes: Axes, text: str, width: float) -> None:
    """The label of the x axis; on a narrow chart it ends where the axis ends, because it is longer than the axis."""
    if width > NARROW:
        axes.set_xlabel(text)
    else:
        axes.set_xlabel(text, loc="right", fontsize=9)


def _points(axes: Axes, places: Sequence[float], values: Sequence[Any], **how: Any) -> None:
    """Points with the intervals of their values; a value without one is a point alone."""
    middles = [middle_of(value) or 0.0 for value in values]
    ends = [ends_of(value) or (middle, middle) for value, middle in zip(values, middles, strict=True)]
    lengths = [[m - low for m, (low, _) in zip(middles, ends, strict=True)],
               [high - m for m, (_, high) in zip(middles, ends, strict=True)]]  # fmt: skip
    axes.errorbar(middles, places, xerr=lengths, **{"fmt": "o", "capsize": 3, "markersize": 5, **how})


def _accuracy(filler: Filler, layout: Layout, metric: str, unit: str) -> Plot:
    """Every model's metric with its standard error, and what others published as hollow diamonds."""

    def draw(_: Sequence[Any], width: float) -> Figure | None:
        rows = [row for row in filler.rows(layout) if middle_of(at(row.values, metric)) is not None]
        others = [filler.published[name] for name in layout.published]
        figure, (axes,) = panels(width, height=0.9 + 0.27 * (len(rows) + len(others)))
        _points(axes, range(len(rows)), [at(row.values, metric) for row in rows], color=BLUE, label="measured")
        if others:
            places = [len(rows) + k for k in range(len(others))]
            published = [one.values[metric] for one in others]
            axes.plot(published, places, "D", mfc="none", color=RED, label="published by others")
            legend_below(figure, axes)
        names = [_label(layout, row, width) for row in rows] + [f"{one.source}" for one in others]
        axes.set_yticks(range(len(names)), [name if width > NARROW else name[:LONGEST] for name in names])
        _x_label(axes, f"{metric.upper().partition('/')[0]} ({unit})", width)
        axes.grid(axis="x", alpha=0.3)
        axes.invert_yaxis()
        return figure

    name = metric.partition("/")[0].upper()
    text = f"{name} of test users; bars are one standard error, or the range over seeds. The axis does not start at 0."
    return Plot(draw=draw, caption=text)


def _speeds(filler: Filler, layout: Layout, ours: str, beside: str, name: str, unit: str) -> Plot:
    """Bars of our speed beside bars of another, each with its interval."""

    def draw(_: Sequence[Any], width: float) -> Figure | None:
        rows = filler.rows(layout)
        figure, (axes,) = panels(width, height=0.9 + 0.5 * len(rows))
        for field, shift, colour, label in ((ours, -0.2, BLUE, "ours"), (beside, 0.2, GREY, name)):
            values = [at(row.values, field) for row in rows]
            middles = [middle_of(value) or 0.0 for value in values]
            places = [k + shift for k in range(len(rows))]
            axes.barh(places, middles, height=0.38, color=colour, label=label)
            with_ends = [(p, m, e) for p, m, v in zip(places, middles, values, strict=True) if (e := ends_of(v))]
            if with_ends:
                lengths = [[m - e[0] for _, m, e in with_ends], [e[1] - m for _, m, e in with_ends]]
                axes.errorbar([m for _, m, _ in with_ends], [p for p, _, _ in with_ends], xerr=lengths, **BARS)
        axes.set_yticks(range(len(rows)), [_label(layout, row, width) for row in rows])
        axes.set_xlim(0, None)
        _x_label(axes, f"speed ({unit})", width)
        axes.invert_yaxis()
        legend_below(figure, axes)
        return figure

    keys = ", ".join(header for header, field in layout.columns.items() if field in layout.rows)
    return Plot(draw=draw, caption=f"By {keys}. Medians; bars go from the lowest to the highest window, where known.")


def charts(filler: Filler, layouts: Mapping[str, Layout]) -> dict[str, Plot]:
    """Title -> its chart."""
    accuracy = "mean over users"
    return {
        "VAE-CF on MovieLens-1M": _accuracy(filler, layouts["vae-ml-1m"], "ndcg@100", accuracy),
        "NCF on MovieLens-1M, beside published figures": _accuracy(
            filler, layouts["ncf-ml-1m"], "hr@10/sampled", accuracy
        ),
        "Training step of VAE-CF and the machine's limit": _speeds(
            filler, layouts["vae-step"], "users_per_second", "limit_users_per_second", "limit of the machine", "users/s"
        ),
    }
