"""The picture of a training run: its loss, and its primary metric beside the gate, the baselines and the test value.

Nothing here changes a global setting of matplotlib or uses pyplot, so that a picture can be drawn on a thread of its
own. Two threads must not write the same path at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_core.evaluation.condition import Condition
from recsys_core.evaluation.evaluator import Estimate
from recsys_core.evaluation.metric_names import COVERAGE
from recsys_core.files import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL_HEIGHT, TITLE_HEIGHT, LEGEND_LINE = 11.0, 3.2, 0.65, 0.2
"""Inches."""
AXIS_HEIGHT = 0.5
"""Inches below a panel, for its ticks and its axis label."""
CHARACTER, HANDLE = 0.075, 0.75
"""Inches of a character in the legend (more than the mean width, so that columns do not overlap), and of its sample."""
LONGEST_TITLE = 110
DPI = 110
PANEL_TITLE: Mapping[str, Any] = {"fontsize": 10, "loc": "left", "y": 1.0}
"""The height is given, so that matplotlib does not measure all ticks to find it."""
TEST_AT, RIGHT_END = 1.05, 1.09
"""Places on the axis of epochs, in multiples of the last epoch: the test value, right of all curves, and the end."""
DOTS_UP_TO = 40
"""Evaluations that are drawn as dots besides the line."""
BASELINE_STYLES = (
    ("tab:orange", (0, (6, 2))), ("tab:green", (0, (2, 1.5))), ("tab:purple", (0, (6, 2, 1, 2))),
    ("tab:brown", (0, (1, 1))), ("tab:pink", (0, (8, 4))), ("tab:olive", (0, (4, 2, 1, 2, 1, 2))),
)  # fmt: skip
"""Colours and dashes; different dashes keep lines of almost the same value apart."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What the picture shows."""

    title: str
    """Model, data set and preset."""
    history: Sequence[Mapping[str, Any]]
    """Evaluations as `TrainState.history` holds them; entries without standard errors are drawn without a band."""
    primary: str
    """Name of the metric that decides, as in the history."""
    loss_unit: str = "nats"
    """Unit of the training loss, as "nats per user"."""
    gate: Mapping[str, float] = field(default_factory=dict)
    """Condition -> least value of the primary metric (`gate_values`)."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Name -> value of the primary metric on the validation users."""
    best_epoch: float | None = None
    """Epoch of the best evaluation; None before there is one."""
    test: Estimate | None = None
    """Primary metric of the best checkpoint on the test users; None until it is known."""


def gate_values(conditions: Sequence[Condition], primary: str, baselines: Mapping[str, float]) -> dict[str, float]:
    """Condition -> the value of the primary metric that it asks for; conditions on other metrics are left out.

    Args:
        baselines: name -> value of the primary metric on the validation users.
    """
    return {str(c): c.wanted(baselines) for c in conditions if str(c.metric) == primary}


def draw_curves(path: Path, curves: Curves) -> None:
    """Write the picture to a PNG file, whole or not at all."""
    figure = curves_figure(curves)
    publish(path, lambda p: figure.savefig(p, format="png", dpi=DPI))


def curves_figure(curves: Curves) -> Figure:
    """The picture: training loss on the left, the primary metric on the right, the legend below both."""
    from matplotlib.figure import Figure  # not pyplot, which would change the backend of a notebook

    figure = Figure()
    left, right = figure.subplots(1, 2)
    epochs = [float(entry["epoch"]) for entry in curves.history]
    _draw_loss(left, curves, epochs)
    _draw_metric(right, curves, epochs)
    for axes in (left, right):
        axes.set_xlabel("training (epochs)")
        axes.set_xlim(0, RIGHT_END * _end(epochs))
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_shortened(curves.title), x=0.01, y=0.985, ha="left", fontsize=12, fontweight="bold")
    _place(figure, right)
    return figure


def _end(epochs: Sequence[float]) -> float:
    """The last epoch; above 0, as an axis needs it."""
    return max([*epochs, 1e-9])


def _marker(epochs: Sequence[float]) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if len(epochs) <= DOTS_UP_TO else {}


def _draw_loss(axes: Axes, curves: Curves, epochs: Sequence[float]) -> None:
    axes.plot(epochs, [entry["loss"] for entry in curves.history], color="tab:gray", **_marker(epochs))
    axes.set_ylabel(f"training loss ({curves.loss_unit})")
    axes.set_title("Training loss, mean since the previous evaluation", **PANEL_TITLE)
    if curves.best_epoch is not None:
        axes.axvline(curves.best_epoch, color="tab:blue", linestyle=":", linewidth=1)


def _draw_metric(axes: Axes, curves: Curves, epochs: Sequence[float]) -> None:
    values = [float(entry["validation"][curves.primary]) for entry in curves.history]
    errors = [_error(entry, curves.primary) for entry in curves.history]
    _draw_validation(axes, epochs, values, errors)
    if curves.best_epoch is not None and values:
        _draw_best(axes, curves.best_epoch, epochs, values, errors)
    for condition, value in curves.gate.items():
        axes.axhline(value, color="tab:red", linewidth=1.6, label=f"gate {condition}: {value:.4f}")
    for k, (name, value) in enumerate(curves.baselines.items()):
        colour, dashes = BASELINE_STYLES[k % len(BASELINE_STYLES)]
        axes.axhline(value, color=colour, linestyle=dashes, linewidth=1.4, label=f"{name} {value:.4f}")
    if curves.test is not None:
        _draw_test(axes, curves.test, epochs)
    over = "share of the items" if curves.primary.startswith(COVERAGE) else "mean over users"
    axes.set_ylabel(f"{curves.primary} ({over})")
    axes.set_title(
        "Validation users" + (" over the epochs, test users at the end" if curves.test else ""), **PANEL_TITLE
    )


def _error(entry: Mapping[str, Any], metric: str) -> float:
    """Standard error of a metric in an entry of the history; NaN where it holds none."""
    found = entry.get("validation_errors", {}).get(metric)
    return math.nan if found is None else float(found)


def _draw_validation(axes: Axes, epochs: Sequence[float], values: Sequence[float], errors: Sequence[float]) -> None:
    """The metric over the epochs with a band, or with an error bar where there is one evaluation only."""
    known = any(math.isfinite(e) for e in errors)
    label = "validation ± standard error" if known else "validation"
    axes.plot(epochs, values, color="tab:blue", label=label, **_marker(epochs))
    if known and len(values) == 1:
        axes.errorbar(epochs, values, yerr=errors, color="tab:blue", capsize=4)
    elif known:
        low = [v - e for v, e in zip(values, errors, strict=True)]
        high = [v + e for v, e in zip(values, errors, strict=True)]
        axes.fill_between(epochs, low, high, color="tab:blue", alpha=0.2, linewidth=0)


def _draw_best(
    axes: Axes, best: float, epochs: Sequence[float], values: Sequence[float], errors: Sequence[float]
) -> None:
    """The epoch of the best evaluation: a vertical line and a star."""
    k = min(range(len(epochs)), key=lambda i: abs(epochs[i] - best))
    label = f"best epoch {best:.4g}: {_text(values[k], errors[k])}"
    axes.axvline(best, color="tab:blue", linestyle=":", linewidth=1)
    axes.plot(
        [best], [values[k]], color="tab:blue", marker="*", markersize=13, markeredgecolor="white", linestyle="none",
        label=label, zorder=4,
    )  # fmt: skip


def _draw_test(axes: Axes, test: Estimate, epochs: Sequence[float]) -> None:
    """The test value and its error right of the last epoch, where no curve is."""
    error = math.nan if test.standard_error is None else test.standard_error
    axes.errorbar(
        [TEST_AT * _end(epochs)], [test.mean], yerr=[error], fmt="D", markersize=5, capsize=4, color="black",
        markerfacecolor="white", label=f"test users, best checkpoint: {_text(test.mean, error)}", zorder=5,
    )  # fmt: skip


def _text(value: float, error: float) -> str:
    return f"{value:.4f} ± {error:.4f}" if math.isfinite(error) else f"{value:.4f}"


def _shortened(title: str) -> str:
    """A title of at most `LONGEST_TITLE` characters; its middle is left out."""
    half = LONGEST_TITLE // 2
    return title if len(title) <= LONGEST_TITLE else f"{title[: half - 1]} … {title[2 - half :]}"


def _place(figure: Figure, axes: Axes) -> None:
    """Panels, title and legend at distances in inches, so that the legend has room of its own below the panels.

    A `constrained` layout takes longer: it measures all texts first.
    """
    handles, labels = axes.get_legend_handles_labels()
    longest = max([len(label) for label in labels], default=0)
    columns = max(1, min(4, len(labels), int(WIDTH / (CHARACTER * longest + HANDLE))))
    legend_height = LEGEND_LINE * -(-len(labels) // columns) + 0.15
    bottom = AXIS_HEIGHT + legend_height
    height = bottom + PANEL_HEIGHT + TITLE_HEIGHT
    figure.set_size_inches(WIDTH, height)
    figure.subplots_adjust(
        left=0.85 / WIDTH, right=1 - 0.15 / WIDTH, bottom=bottom / height, top=1 - TITLE_HEIGHT / height, wspace=0.2
    )
    if labels:
        figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=9)
