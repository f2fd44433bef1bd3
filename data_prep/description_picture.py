"""The description of a data set as a picture, drawn with matplotlib. No display is needed, and pyplot is not used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.description_text import when

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from data_prep.description_facts import Facts

BLUE, RED = "#4878a8", "#c85a4a"
WIDTH, HEIGHT = 4.0, 3.6
"""Of a panel, in inches."""
SUFFIXES = (".png", ".svg", ".pdf")


def _plain(axis: Any) -> None:
    """Numbers of an axis written out, as 10,000."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _draw_lengths(axes: Axes, found: Facts) -> None:
    bins = found.lengths.bins
    labels = [f"{low:,}" if low == high else f"{low:,}-{high:,}" for low, high, _ in bins]
    axes.bar(range(len(bins)), [rows for _, _, rows in bins], color=BLUE)
    axes.set_xticks(range(len(bins)), labels, rotation=45, ha="right")
    _plain(axes.yaxis)
    axes.set_title("Lengths of histories", fontsize=10)
    axes.set_xlabel("items of a training user (number)")
    axes.set_ylabel("users (number)")


def _draw_popularity(axes: Axes, found: Facts) -> None:
    ranks, counts = zip(*found.popularity, strict=True) if found.popularity else ((), ())
    axes.loglog(ranks, counts, color=BLUE)
    for head in found.heads:
        axes.axvline(head.items, color=RED, linewidth=0.8)
        text = f" {head.share_of_items:.0%}: {head.share_of_interactions:.0%}"
        axes.text(head.items, 0.02, text, transform=axes.get_xaxis_transform(), fontsize=8, color=RED)
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    axes.set_title("Popularity; red: share of the interactions\nthat the most popular items have", fontsize=10)
    axes.set_xlabel("rank of an item (number)")
    axes.set_ylabel("training interactions (number)")


def _draw_times(axes: Axes, found: Facts) -> None:
    histogram, unit = found.times["histogram"], found.times.get("unit", "")
    edges = histogram["edges"]
    axes.stairs(histogram["counts"], edges, fill=True, color=BLUE)
    shown = [edges[0], edges[len(edges) // 2], edges[-1]]
    axes.set_xticks(shown, [when(value, unit).partition(" ")[0] for value in shown])
    _plain(axes.yaxis)
    axes.set_title("Interactions over time", fontsize=10)
    axes.set_xlabel("time (UTC)" if unit and unit != "number" else "time (unit of the source)")
    axes.set_ylabel("interactions (number)")


def draw(found: Facts) -> Figure:
    """See `Description.draw`."""
    from matplotlib.figure import Figure

    panels = [_draw_lengths, _draw_popularity]
    if found.times.get("histogram"):
        panels.append(_draw_times)
    figure = Figure(figsize=(WIDTH * len(panels), HEIGHT), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        panel(axes, found)
    return figure


def save(found: Facts, path: Path) -> None:
    """See `Description.save_picture`."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--picture {path}: the suffix is {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(found).savefig(path, dpi=150)
