"""What every plot and every page of a report must have."""

from __future__ import annotations

import re

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure


def assert_units(figure: Figure) -> None:
    """Axes of numbers have a label, and every label ends with its unit in brackets."""
    for axes in figure.axes:
        labels = [axes.get_xlabel(), axes.get_ylabel()]
        assert any(labels)
        assert [label for label in labels if label and not re.fullmatch(r"(?s).+\(.+\)", label)] == []


def assert_intervals(figure: Figure, without: tuple[str, ...] = ()) -> None:
    """Every series of points has error bars; bars have them, or the stack that they are parts of has.

    Args:
        without: labels of series that are settings and no measurements.
    """
    for axes in figure.axes:
        bars = [c for c in axes.containers if isinstance(c, BarContainer)]
        points = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
        assert points or any(c.errorbar for c in bars)
        measured = {id(c.lines[0]) for c in points}
        marked = [line for line in axes.lines if line.get_marker() not in ("None", "none", "", "|", "_", None, "^")]
        assert [m.get_label() for m in marked if id(m) not in measured and m.get_label() not in without] == []


def assert_room(figure: Figure, width: float) -> None:
    """As wide as the page; no legend inside a panel or over another text, and no text over the edge."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    assert figure.get_size_inches()[0] == width
    for axes in figure.axes:
        assert axes.get_legend() is None
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
        for legend in figure.legends:
            assert legend.get_window_extent(renderer).y1 <= box.y0 + 1
    for legend in figure.legends:
        found = legend.get_window_extent(renderer)
        assert found.x0 >= -1 and found.x1 <= figure.bbox.x1 + 1


def assert_page(text: str) -> None:
    """Date, machine, summary and contents in this order before the tables; each table in a box that scrolls."""
    marks = ["<dt>Measured</dt>", "<dt>Machine</dt>", "<h2 id=summary>", "<h2 id=contents>", "<figure>", "<table>"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert '<meta name=viewport content="width=device-width, initial-scale=1">' in text
    assert text.count("<table>") == len(re.findall(r"<div class=scroll [^>]*><table>", text))
    assert ".scroll{overflow-x:auto" in text
    linked = set(re.findall(r"<a href=#([^>]+)>", text))
    assert linked and linked == set(re.findall(r"<section><h2 id=([^>]+)>", text))
