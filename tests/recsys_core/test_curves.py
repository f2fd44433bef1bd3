"""The picture of a run: its texts, lines and errors, and a legend that covers no curve."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from recsys_core.evaluation.condition import parse_condition
from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.training.curves import LONGEST_TITLE, Curves, curves_figure, draw_curves, gate_values
from recsys_core.training.state import Plan, TrainState


def history(count: int, metric: str = "ndcg@100", error: float | None = 0.01) -> list[dict[str, Any]]:
    entries = [{"epoch": k, "loss": 10.0 - k / count, "validation": {metric: k / 1000}} for k in range(1, count + 1)]
    return [entry | {"validation_errors": {metric: error}} for entry in entries]


def full(count: int = 3, **changes: Any) -> Curves:
    values: dict[str, Any] = {
        "title": "Mult-VAE · ml-1m · preset paper",
        "history": history(count),
        "primary": "ndcg@100",
        "loss_unit": "nats per user",
        "gate": {"ndcg@100>=0.002": 0.002},
        "baselines": {"popularity": 0.0011, "ease": 0.0012},
        "best_epoch": 2.0,
        "test": Estimate(mean=0.0025, standard_error=0.0004),
    }
    return Curves(**values | changes)


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_title_units_and_labels() -> None:
    figure = curves_figure(full())
    left, right = figure.axes
    assert figure.get_suptitle() == "Mult-VAE · ml-1m · preset paper"
    assert left.get_ylabel() == "training loss (nats per user)"
    assert right.get_ylabel() == "ndcg@100 (mean over users)"
    assert left.get_xlabel() == right.get_xlabel() == "training (epochs)"
    assert legend_texts(figure) == [
        "validation ± standard error",
        "best epoch 2: 0.0020 ± 0.0100",
        "gate ndcg@100>=0.002: 0.0020",
        "popularity 0.0011",
        "ease 0.0012",
        "test users, best checkpoint: 0.0025 ± 0.0004",
    ]


def test_gate_baselines_and_best_epoch_are_lines() -> None:
    left, right = curves_figure(full()).axes
    flat = {line.get_ydata()[0] for line in right.lines if len(line.get_xdata()) == 2 and line.get_xdata()[1] == 1}
    assert flat >= {0.002, 0.0011, 0.0012}
    for axes in (left, right):
        assert any(list(line.get_xdata()) == [2.0, 2.0] for line in axes.lines), "the best epoch"


def test_validation_has_a_band_and_the_test_value_an_error_bar() -> None:
    right = curves_figure(full()).axes[1]
    (band,) = [c for c in right.collections if isinstance(c, PolyCollection)]
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(0.001 - 0.01)
    assert heights.max() == pytest.approx(0.003 + 0.01)
    (test,) = right.containers
    (segment,) = test.lines[2][0].get_segments()
    assert segment[:, 1] == pytest.approx([0.0021, 0.0029])
    assert segment[0, 0] > 3.0, "right of the last epoch"


@pytest.mark.parametrize("count", [1, 3, 400])
@pytest.mark.parametrize("baselines", [{}, {f"b{k}": 0.3 + k * 1e-9 for k in range(9)}])
def test_the_legend_is_outside_the_panels(count: int, baselines: dict[str, float]) -> None:
    """Whatever it holds: it lies below the axis labels and inside the picture, and no text of it overlaps another."""
    names = {"hr@10/sampled>1.1*popularity": 0.55, "hr@10/sampled>=0.6": 0.6}
    curves = full(
        count, history=history(count, "hr@10/sampled"), primary="hr@10/sampled", gate=names, baselines=baselines
    )
    figure = curves_figure(curves)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    assert box.y0 >= 0 and box.x0 >= 0 and box.x1 <= figure.bbox.x1
    for axes in figure.axes:
        assert axes.get_legend() is None
        assert box.y1 <= axes.get_tightbbox(renderer).y0
    texts = [text.get_window_extent(renderer) for text in legend.get_texts()]
    assert not any(a.overlaps(b) for k, a in enumerate(texts) for b in texts[:k])


def test_one_evaluation_is_a_point_with_an_error_bar() -> None:
    right = curves_figure(full(1, best_epoch=1.0, test=None)).axes[1]
    (point,) = right.containers
    assert point.has_yerr
    assert any(line.get_marker() == "o" for line in right.lines)


def test_entries_of_earlier_versions_are_drawn_without_a_band() -> None:
    old = [{name: entry[name] for name in ("epoch", "loss", "validation")} for entry in history(3)]
    figure = curves_figure(full(history=old, test=None))
    assert not figure.axes[1].collections
    assert legend_texts(figure)[:2] == ["validation", "best epoch 2: 0.0020"]
    mixed = curves_figure(full(history=[*old, *history(5)[3:]]))
    assert legend_texts(mixed)[0] == "validation ± standard error"


def test_nothing_but_the_history_is_needed(tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.png", Curves(title="", history=history(2), primary="ndcg@100"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert legend_texts(curves_figure(Curves(title="", history=[], primary="ndcg@100"))) == ["validation"]


def test_a_long_title_keeps_its_ends() -> None:
    found = curves_figure(full(title="NeuMF · " + "long-" * 60 + " · preset quick")).get_suptitle()
    assert len(found) == LONGEST_TITLE
    assert found.startswith("NeuMF · long-") and found.endswith(" · preset quick") and " … " in found


def test_coverage_is_a_share_of_the_items() -> None:
    curves = full(history=history(2, "coverage@5", None), primary="coverage@5", gate={}, baselines={}, test=None)
    assert curves_figure(curves).axes[1].get_ylabel() == "coverage@5 (share of the items)"


def test_drawing_on_threads_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(rcParams)
    threads = [threading.Thread(target=draw_curves, args=(tmp_path / f"{k}.png", full(30))) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = [(tmp_path / f"{k}.png").read_bytes() for k in range(3)]
    assert first.startswith(b"\x89PNG") and others == [first, first]
    assert dict(rcParams) == before


def test_values_of_gates_on_the_primary_metric() -> None:
    conditions = [parse_condition(text) for text in ("ndcg@100>=0.4", "ndcg@100>1.5*popularity", "recall@20>=0.1")]
    found = gate_values(conditions, "ndcg@100", {"popularity": 0.2})
    assert found == {"ndcg@100>=0.4": 0.4, "ndcg@100>1.5*popularity": pytest.approx(0.3)}


def test_the_history_holds_standard_errors() -> None:
    metrics = {"ndcg@100": Estimate(mean=0.5, standard_error=0.25), "coverage@5": Estimate(mean=0.125)}
    plan = Plan(total_steps=4, steps_per_epoch=2, evaluate_every=2, steps_per_call=2)
    state = TrainState(step=2)
    state.record_evaluation(plan, Evaluation(metrics=metrics, users=9, users_without_relevant=0), "ndcg@100", False)
    assert state.history[0]["validation_errors"] == {"ndcg@100": 0.25, "coverage@5": None}
    assert state.history[0]["loss"] is None  # of no step
