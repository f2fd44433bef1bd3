"""The picture of a search: every trial in order with the best so far, and a panel for each parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys_core.files import publish
from recsys_core.search_space import Choice, Parameter, Real, Whole, label
from recsys_core.tuning.report import best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from recsys_core.tuning.study import Outcome

WIDTH, PANEL, COLUMNS, DPI = 11.0, 2.9, 3, 110
"""Inches, panels a row, dots an inch."""
STYLES: Mapping[str, Mapping[str, Any]] = {
    "complete": {"color": "tab:blue", "marker": "o", "s": 26},
    "pruned": {"color": "tab:gray", "marker": "x", "s": 22, "linewidths": 1.0},
}
MARGIN, MOST_DIGITS = 0.04, 60.0
"""Part of an axis beside the range, and the ratio of its ends up to which 2 and 5 are labelled besides powers of 10."""
LOWEST_SHARE = 0.25
"""Pruned trials below this quantile of the complete ones' values are drawn at the lower edge."""


def draw_search(path: Path, title: str, metric: str, space: Mapping[str, Parameter], done: Sequence[Outcome]) -> None:
    """Write the picture to a PNG file, whole or not at all."""
    figure = search_figure(title, metric, space, done)
    publish(path, lambda p: figure.savefig(p, format="png", dpi=DPI))


def search_figure(title: str, metric: str, space: Mapping[str, Parameter], done: Sequence[Outcome]) -> Figure:
    """The history above, and one panel for each parameter that had more than one value."""
    from matplotlib.figure import Figure  # not pyplot, which would change the backend of a notebook

    names = [n for n, p in space.items() if not (isinstance(p, Choice) and len(p.values) == 1)]
    rows = 1 + math.ceil(len(names) / COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.6 + PANEL * rows), layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    history = figure.add_subplot(grid[0, :])
    _draw_history(history, metric, done)
    limits = history.get_ylim()
    for k, name in enumerate(names):
        axes = figure.add_subplot(grid[1 + k // COLUMNS, k % COLUMNS])
        _draw_parameter(axes, name, space[name], done)
        axes.set_ylim(limits)
        if k % COLUMNS == 0:
            axes.set_ylabel(f"{metric} (mean over users)")
    for axes in figure.axes:
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    handles, labels = history.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def _lowest(done: Sequence[Outcome]) -> float:
    """The lower end of the axis of values: bad trials must not press the good ones together."""
    values = sorted(o.value for o in done if o.state == "complete" and o.value is not None)
    if not values:
        return 0.0
    low, high = float(np.quantile(values, LOWEST_SHARE)), values[-1]
    return low - 0.6 * (high - low or 0.1 * abs(high) or 1.0)


def _draw_history(axes: Axes, metric: str, done: Sequence[Outcome]) -> None:
    lowest = _lowest(done)
    for state, style in STYLES.items():
        own = [o for o in done if o.state == state and o.value is not None]
        if own:
            shown = [max(o.value or 0.0, lowest) for o in own]
            axes.scatter([o.number for o in own], shown, label=f"{state} trial", **style)
    complete = [o for o in done if o.state == "complete"]
    if complete:
        so_far = np.maximum.accumulate([o.value or 0.0 for o in complete])
        ends = [o.number for o in complete] + [max(o.number for o in done)]
        axes.step(ends, [*so_far, so_far[-1]], where="post", color="tab:orange", label="best so far")
    best = best_of(done)
    if best is not None and best.value is not None:
        axes.scatter([best.number], [best.value], label=f"best: {best.value:.4f}, trial {best.number}", **_star())
        if best.error is not None:
            axes.axhspan(
                best.value - best.error, best.value + best.error, color="tab:orange", alpha=0.12, linewidth=0,
                label="its standard error over users",
            )  # fmt: skip
            top = best.value + 1.4 * best.error
        else:
            top = best.value + 0.1 * (best.value - lowest)
        axes.set_ylim(lowest - 0.04 * (top - lowest), top)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("trial (number)")
    axes.set_ylabel(f"{metric} (mean over users)")
    axes.set_title("Best evaluation of each trial on validation users", fontsize=10, loc="left")


def _star() -> dict[str, Any]:
    return {"color": "tab:red", "marker": "*", "s": 130, "edgecolors": "white", "zorder": 4}


def _draw_parameter(axes: Axes, name: str, parameter: Parameter, done: Sequence[Outcome]) -> None:
    """Values of a parameter against the metric."""
    lowest, best = _lowest(done), best_of(done)
    places = {text: k for k, text in enumerate(parameter.labels)} if isinstance(parameter, Choice) else {}

    def place(outcome: Outcome) -> float:
        value = outcome.settings[name]
        if places:  # beside each other where there are many, by the number of the trial
            return places[label(value)] + 0.05 * ((outcome.number * 7) % 9 - 4)
        return float(value)

    for state, style in STYLES.items():
        own = [o for o in done if o.state == state and o.value is not None]
        axes.scatter([place(o) for o in own], [max(o.value or 0.0, lowest) for o in own], **style)
    if best is not None and best.value is not None:
        axes.scatter([place(best)], [best.value], **_star())
    if isinstance(parameter, Choice):
        axes.set_xticks(range(len(places)), list(places))
        axes.set_xlim(-0.5, len(places) - 0.5)
    else:
        _set_range(axes, parameter)
    kind = "choice" if places else "log scale" if getattr(parameter, "log", False) else "value"
    axes.set_xlabel(f"{name} ({kind})")


def _set_range(axes: Axes, parameter: Real | Whole) -> None:
    """The whole range of a parameter on the axis, with a margin, and labels that do not touch."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = parameter.low, parameter.high
    if not parameter.log:
        axes.set_xlim(low - MARGIN * (high - low), high + MARGIN * (high - low))
        return
    axes.set_xscale("log")
    ratio = high / low
    axes.set_xlim(low / ratio**MARGIN, high * ratio**MARGIN)
    digits = (1, 2, 5) if ratio <= MOST_DIGITS else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=digits))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
