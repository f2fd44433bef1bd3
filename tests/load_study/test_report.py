"""The report of inference under load: a sentence for each kind, intervals of every point, units of every number."""

from __future__ import annotations

import re
from typing import Any

import pytest

from load_study.operator_kinds import KINDS
from load_study.plots import PLOTS
from load_study.report import REPORT
from load_study.summary import SUMMARIES
from load_study.tables import TABLES
from recsys_core.measuring.drawing import NARROW, WIDE
from tests import pictures

SUBJECT = {"model": "rmc1", "engine": "onnx-fp32"}
ABOUT = {"time": "2026-01-31T12:00:00+00:00", "machine": {"cpu": "a", "cores": 2}, "versions": {"numpy": "1"}}


def _load(rate: float, loop: str = "open", high: float | None = 0.02) -> dict[str, Any]:
    times = {f"{name}_s": [0.0125, 0.01, high] for name in ("mean", "p50", "p95", "p99", "p999")}
    theory = {f"theory_{name}_s": 0.01 for name in ("mean", "p95", "p99")}
    counts = {"queries": 200.0, "errors": 1.0, "timeouts": 1.0, "stall_s": 1.0, "service_s": 0.01, "engines": 2}
    rates = {"offered_rate": rate, "completed_rate": rate, "completed_items_rate": rate}
    about = {"kind": "load", "target": "pool", "loop": loop, "arrivals": f"poisson, {rate:g}/s"}
    return about | SUBJECT | times | theory | counts | rates


def _trial(split: int, rate: float, meets: bool) -> dict[str, Any]:
    return {"split": split, "offload_above": None, "rate": rate, "meets": meets, "tail_ms": 5.0}


def _schedule(rate: float = 80.0) -> dict[str, Any]:
    points = [_trial(64, 40.0, True), _trial(64, 60.0, False), _trial(256, 80.0, True), _trial(256, 110.0, False)]
    best = {"best_split": 256, "best_offload_above": None, "rate": rate, "items_rate": 9.0, "tail_ms": 4.0}
    fixed = {"baseline_split": 64, "baseline_rate": 40.0, "gain": 2.0, "capacity": 150.0}
    goal = {"level": 0.95, "target_ms": 20.0, "target": "pool", "is_simulated": False}
    return {"kind": "schedule"} | SUBJECT | goal | best | fixed | {"points": points}


def _loadgen() -> dict[str, Any]:
    rates = {"rate": [70.0, 68.0, 73.0], "loadgen_rate": [71.0, 70.0, 75.0], "theory_rate": 72.0}
    counts = {"discarded_windows": 1.0, "loadgen_discarded_windows": 2.0, "engines": 1, "window_s": 4.0}
    goal = {"level": 0.95, "target_ms": 50.0, "target": "pool", "capacity": [98.0, 99.0], "loadgen_valid_rate": 60.0}
    return {"kind": "loadgen", "model": "delay:10", "engine": "none"} | rates | counts | goal


def _operators(batch: int) -> dict[str, Any]:
    shares = dict.fromkeys(KINDS, 0.125)
    return {"kind": "operators", "batch": batch, "ms": 4.0} | SUBJECT | {"shares": shares | {"MatMul": 0.5}}


def _platform(engine: str, batch: int, speed_up: list[float]) -> dict[str, Any]:
    times = {"p50_ms": 1.0, "p99_ms": 2.0, "examples_per_second": [8.0, 9.0], "speed_up": speed_up}
    return {"kind": "platforms", "model": "rmc1", "engine": engine, "batch": batch} | times


def _every_kind() -> list[dict[str, Any]]:
    platforms = [_platform("tensorflow", b, [1.0, 1.0]) for b in (1, 64)]
    platforms += [_platform("onnx-fp32", b, [2.0, 3.0]) for b in (1, 64)]
    loads = [_load(50.0), _load(100.0), _load(120.0, high=None), _load(90.0, loop="closed")]
    rows = [*loads, _schedule(), _loadgen(), _operators(1), _operators(64), *platforms]
    return [ABOUT | row for row in rows]


def test_the_summary_has_the_main_figures() -> None:
    assert dict(REPORT.sentences(REPORT.sections(_every_kind()))) == {
        "load": "rmc1 on onnx-fp32: 95 % of the queries are answered within 12.5 (10.0 to 20.0) ms at 50.0 queries/s "
        "and within 12.5 (10.0 to ?) ms at 120.0 queries/s; 1.00% of all queries failed or timed out.",
        "schedule": "rmc1 on onnx-fp32: at most 80.0 queries/s with p95 below 20 ms, queries cut into parts of at most "
        "256 items; 2.00 times the rate of the fixed split.",
        "loadgen": "delay:10 on none, p95 < 50 ms: this package finds 70.0 (68.0 to 73.0) queries/s, MLPerf's LoadGen "
        "71.0 (70.0 to 75.0), queueing theory 72.0; the same within their intervals.",
        "operators": "rmc1 on onnx-fp32, batch 64: MatMul takes the largest share, 50% of 4.00 ms.",
        "platforms": "the fastest engine of rmc1 is onnx-fp32 at batch 1, 2.50 (2.00 to 3.00) times as fast as "
        "TensorFlow; and onnx-fp32 at batch 64, 2.50 (2.00 to 3.00) times as fast as TensorFlow.",
    }
    none = REPORT.sentences({"schedule": [_schedule(rate=0.0)]})
    assert none == [("schedule", "rmc1 on onnx-fp32: no rate that was tried kept p95 below 20 ms.")]


def test_date_machine_and_summary_come_first() -> None:
    pictures.assert_page(REPORT.as_html(_every_kind()))


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("kind", list(PLOTS))
def test_plots_have_units_intervals_and_room(kind: str, width: float) -> None:
    figure = PLOTS[kind].draw([row for row in _every_kind() if row["kind"] == kind], width)
    assert figure is not None
    pictures.assert_units(figure)
    pictures.assert_room(figure, width)
    if kind != "operators":  # its records hold one profile, which the caption says
        pictures.assert_intervals(figure, without=("rate tried, target met", "rate tried, target missed"))
    else:
        assert "no interval" in PLOTS[kind].caption


WORDS = {"ids", "generator", "model", "engine", "target", "loop", "arrivals", "simulated", "goal", "same rate"}


@pytest.mark.parametrize("kind", list(TABLES))
def test_columns_of_numbers_have_units(kind: str) -> None:
    headers = [header for header, _ in TABLES[kind].columns]
    assert [h for h in headers if h not in WORDS and not re.fullmatch(r".+ \(.+\)", h)] == []
    assert len({*headers}) == len(headers)


def test_an_interval_without_an_upper_end_has_an_arrow() -> None:
    figure = PLOTS["load"].draw([_load(50.0), _load(120.0, high=None)], WIDE)
    assert figure is not None
    (arrows,) = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    assert arrows.get_xdata().tolist() == [120.0]


def test_the_highest_rate_lies_between_the_rate_met_and_the_rate_missed() -> None:
    figure = PLOTS["schedule"].draw([_schedule()], WIDE)
    assert figure is not None
    ends = [c.lines[2][0].get_segments()[0][:, 1].tolist() for c in figure.axes[0].containers]
    assert ends == [[40.0, 60.0], [80.0, 110.0]]


def test_records_without_percentiles_have_no_plot() -> None:
    short = _load(50.0) | {"p95_s": None}
    assert PLOTS["load"].draw([short], WIDE) is None
    assert "<figure>" not in REPORT.as_html([short])


@pytest.mark.parametrize("kind", list(SUMMARIES))
def test_a_record_without_the_fields_has_no_sentence(kind: str) -> None:
    """For each field: the summary of the kind does without it, or leaves the record out."""
    assert SUMMARIES[kind]([{"kind": kind}]) == []
    rows = [row for row in _every_kind() if row["kind"] == kind]
    for name in rows[0]:
        assert all(SUMMARIES[kind]([{k: v for k, v in row.items() if k != name} for row in rows]))


@pytest.mark.parametrize("kind", ["load", "schedule", "operators", "platforms"])
def test_records_of_other_ids_or_tables_stand_apart(kind: str) -> None:
    """One line through uniform and skewed ids would show a jump that no model makes."""
    rows = [row for row in _every_kind() if row["kind"] == kind]
    rows = [row | {"ids": ids, "table_mib": 64} for row in rows for ids in ("uniform", "zipf:0.99")]
    page = REPORT.as_html(rows)
    assert "<h3>ids: uniform, table_mib: 64</h3>" in page and "<h3>ids: zipf:0.99, table_mib: 64</h3>" in page
    assert page.count("<svg") == 2 * REPORT.as_html([row for row in rows if row["ids"] == "uniform"]).count("<svg")
