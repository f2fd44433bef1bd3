"""The report shows what was measured, the newest of each setting, and needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import ErrorbarContainer

from benchmarks.__main__ import main
from benchmarks.front import FRONT
from benchmarks.plots import PLOTS
from benchmarks.report import REPORT
from benchmarks.rungs import ladder
from benchmarks.summary import SUMMARIES
from benchmarks.tables import TABLES
from recsys_core.measuring import cells
from recsys_core.measuring.drawing import NARROW, WIDE
from tests import pictures

ABOUT = {
    "command": "python -m benchmarks it <now>",
    "time": "2026-01-31T23:59:00+00:00",
    "machine": {"cpu": "<one>", "cores": 2, "memory_gib": 4.5, "gpus": []},
    "versions": {"numpy": "1"},
}


def _speedup() -> list[dict[str, Any]]:
    return [
        {
            "kind": "speedup",
            "rung": asdict(rung),
            "users_per_second": [10.0 * k, 12.0 * k],
            "step": [2.0, 3.0],
            "overall": [float(k), float(k)],
            "published_step": None,
            "peak_gib": 1.0,
            "ndcg@100": {"mean": 0.4, "standard_error": 0.01} if k % 2 else None,
        }
        for k, rung in enumerate(ladder(8, 1e-3, "fp16", 2), start=1)
    ]


def _train(batch: int, rate: float) -> dict[str, Any]:
    return {"kind": "train", "batch_size": batch, "precision": "fp32", "n_items": 10, "users_per_second": [rate] * 3}


def _roofline() -> dict[str, Any]:
    """Fields of the limit in records of `train` and `ncf`."""
    rates = {"gemm_gflops": [90.0, 100.0], "memory_gb_per_second": [10.0, 11.0]}
    step = {"operations": 1e9, "bytes": 1e7, "operations_per_byte": 100.0, "ridge": 10.0, "bound": "compute"}
    return rates | step | {"share_of_limit": [0.5]}


def _ncf() -> dict[str, Any]:
    return {"kind": "ncf", "shape": "he2017-8", "batch_size": 5, "precision": "fp32", "samples_per_second": [4.0, 5.0]}


def _scaling() -> dict[str, Any]:
    parts = {"step": 1.0, "compute": 0.7, "exposed_communication": 0.2, "input": 0.1, "exchange_alone": 0.3}
    rounds = {"examples_per_second": [4.0, 8.0, 16.0], "strong": [1.5, 1.6, 1.75], "weak": [1.25]}
    about = {"model": "vae", "precision": "fp32", "ranks": 2, "batch_size": 8, "predicted": 0.9}
    return {"kind": "scaling"} | about | parts | rounds


def _peer() -> dict[str, Any]:
    rates = {"examples_per_second": [9.0], "peer_examples_per_second": [3.0], "ratio": [2.5, 3.0]}
    about = {"ours": "dense", "peer": "bag", "difference": "none"}
    return {"kind": "peers", "model": "vae", "batch_size": 500, "precision": "fp32"} | about | rates


def _file(path: Path, records: list[dict[str, Any]]) -> list[str]:
    path.write_text("".join(json.dumps(ABOUT | values) + "\n" for values in records))
    return ["--results", str(path)]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    words = _file(
        tmp_path / "r.jsonl",
        [*_speedup(), _train(500, 1_234.0) | _roofline(), _ncf() | _roofline(), _scaling(), _peer()],
    )
    page, note = tmp_path / "a" / "r.html", tmp_path / "a" / "r.md"
    assert main(["report", *words, "--html", str(page), "--markdown", str(note)]) == 0
    text = page.read_text()
    assert not re.findall(r"<(?:script|link|img)\b", text)
    assert text.count("<figure>") == 5, "one plot each for speedup, train, ncf, scaling and peers"
    assert text.count("<svg") == 10, "each for a wide and for a narrow page"
    assert not re.findall(r"(?:src|href)=\"?(?!#)[^\s>]*//", text.replace("xmlns:xlink", "")), "nothing is fetched"
    assert "0.4000 ± 0.0100" in text and "1,234 <span class=interval>(1,234 to 1,234)" in text
    assert "&lt;one&gt;" in text and "it &lt;now&gt;" in text and "<one>" not in text
    assert "| 1,234 (1,234 to 1,234)" in note.read_text()
    assert "    python -m benchmarks it <now>" in note.read_text()


def test_records_without_a_roofline_have_a_table_and_no_plot() -> None:
    page = REPORT.as_html([_train(500, 1_234.0)])
    assert "<table>" in page and "<figure>" not in page


def test_records_of_other_commands_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _file(tmp_path / "r.jsonl", [_train(500, 1.0), {"kind": "load"}])
    assert main(["report", *words, "--html", str(tmp_path / "r.html")]) == 0
    assert "not in this report: records of load" in capsys.readouterr().out


def test_the_newest_of_each_setting_counts() -> None:
    found = REPORT.sections([_train(500, 1.0), _train(2_000, 2.0), _train(500, 3.0), {"kind": "of a later version"}])
    assert [(row["batch_size"], row["users_per_second"][0]) for row in found["train"]] == [(500, 3.0), (2_000, 2.0)]
    assert list(found) == ["train"]


def test_ladders_of_different_data_stand_apart(tmp_path: Path) -> None:
    records = [row | {"data": data, "epochs": 0} for data in ("one", "two") for row in _speedup()]
    page = tmp_path / "r.html"
    assert main(["report", *_file(tmp_path / "r.jsonl", records), "--html", str(page)]) == 0
    text = page.read_text()
    assert text.count("<figure>") == text.count("<table>") == text.count("<h3>") == 2
    assert "data: one, epochs: 0" in text


def test_a_result_is_no_setting() -> None:
    line = {"kind": "serve", "engine": "onnx", "batch": 32, "runs": 7, "p50_ms": 1.0}
    assert len(REPORT.sections([line, line | {"runs": 8}])["serve"]) == 1


def test_empty_columns_are_left_out() -> None:
    shown = TABLES["train"].as_text([_train(500, 7.0)])
    assert "users/s" in shown and "GiB" not in shown


def test_medians_and_scales() -> None:
    assert cells.number("x", ".1f", 1e3)({"x": [0.001, 0.002, 0.009]}) == "2.0 (1.0 to 9.0)"
    assert cells.number("x", ".0%")({"x": [0.5, 0.75, 0.7]}) == "70% (50% to 75%)"
    assert cells.number("x", ".0f")({"x": [3.0]}) == "3 (one window)"
    assert cells.number("x", ".2f", 1e3)({"x": 0.002}) == "2.00"
    assert cells.number("x", ".1f")({}) == cells.plain("x")({}) == cells.number("x", "f")({"x": []}) == ""
    assert cells.plain("x")({"x": 1048576}) == "1,048,576"
    assert cells.plain("x")({"x": True}) == "True"


def test_nothing_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *_file(tmp_path / "r.jsonl", [{"kind": "other"}]), "--html", str(tmp_path / "p")]) == 1
    assert "holds nothing to report" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def _serve(engine: str, equal: int, ndcg: float) -> list[dict[str, Any]]:
    quality = {"MiB": 4.0, "rows": 9, "rows_equal_but_for_ties": equal, "items_in_common": 0.5, "ndcg@100": ndcg}
    times = {"batch": 8, "runs": 5, "p50_ms": 2.0, "p95_ms": 3.0, "p99_ms": 4.0, "users_per_second": 4000.0}
    return [{"kind": "serve-quality", "engine": engine} | quality, {"kind": "serve", "engine": engine} | times]


def _prep(way: str, seconds: list[float]) -> dict[str, Any]:
    return {"kind": "prep", "way": way, "like": "ml-1m", "input_bytes": 23_000_000, "wall_s": seconds, "peak_gib": 1.0}


def _evaluate() -> dict[str, Any]:
    speed = {"users_per_second": [5.0, 7.0], "share_of_limit": [0.25, 0.75], "gemm_gflops": [1.0], "peak_gib": 1.0}
    return {"kind": "evaluate", "users": 9, "n_items": 1200, "block_size": 3} | speed


def _batch() -> dict[str, Any]:
    speed = {"users_per_second": [5.0, 7.0], "engine_users_per_second": [6.0, 8.0], "share_of_limit": [0.5, 0.75]}
    about = {"kind": "batch", "model": "onnx-fp32", "layers": "1200-200-1200", "users": 9, "n_items": 1200}
    return {**about, **speed, "mean_history": 60.0, "share_of_engine": [0.8, 0.9], "peak_gib": 1.0}


def _release() -> dict[str, Any]:
    times = {"p50_ms": [2.0, 1.9, 2.1], "p99_ms": [9.0, 8.0, 11.0], "max_ms": 12.5}
    return {"kind": "release", "phase": "served", "clients": 4, "requests": 2_000} | times


def _check() -> list[dict[str, Any]]:
    about = {"kind": "check-verdict", "set": "4 slowed by 25%", "recorded_ratio": [0.5, 0.52], "ratio": [0.4, 0.41]}
    judged = {"change": 0.8, "noise": 0.01, "bound": 0.08, "verdict": "SLOWER"}
    return [about | judged | {"part": "serving"}, about | {"part": "evaluation", "verdict": "not judged", "why": "few"}]


def _embeddings(rows: int, dense: float) -> dict[str, Any]:
    return {"kind": "embeddings", "lookups": 8, "rows": rows, "width": 4, "dense_ms": dense, "by_rows_ms": 2.0}


def _training(system: str, target_s: list[float], best: float) -> dict[str, Any]:
    about = {"kind": "trainings", "system": system, "users": 6, "items": 5, "interactions": 20, "evaluations": 4}
    figures = {"target_s": target_s, "whole_s": [40.0], "best_validation": [best], "best_s": [35.0], "peak_gib": 1.0}
    return about | figures | {"target": 0.25, "ndcg@100": [0.5]}


def _every_kind() -> list[dict[str, Any]]:
    roofline = [_train(500, 1_234.0) | _roofline(), _ncf() | _roofline()]
    others = [_evaluate(), _prep("ours", [1.0, 2.0]), _prep("pandas", [6.0])]
    others += [
        _training("vaecf:shallow", [20.0, 24.0], 0.375),
        _training("implicit:als", [30.0], 0.5),
        *_serve("tensorflow", 9, 0.4),
        *_serve("onnx-int8", 6, 0.375),
        _release(),
        _batch(),
        *_check(),
        _embeddings(4, 1.0),
        _embeddings(16, 3.0),
    ]
    return [ABOUT | values for values in (*_speedup(), *roofline, _scaling(), _peer(), *others)]


def test_every_kind_has_a_sentence_in_the_summary() -> None:
    sentences = dict(REPORT.sentences(REPORT.sections(_every_kind())))
    assert list(sentences) == list(TABLES)
    assert sentences["train"].startswith(
        "the fastest of 1 settings (batch 500, fp32) trains 1,234 (1,234 to 1,234) user"
    )
    assert sentences["train"].endswith("That is 50% (one window) of what this machine's matrix products would allow; a "
                                       "better program could gain the rest at most.")  # fmt: skip
    assert sentences["scaling"] == (
        "2 ranks train a global batch of 8 1.60 (1.50 to 1.75) times as fast as one rank (2 would be ideal); 20% of a "
        "step is communication that no computation hides."
    )
    assert sentences["prep"] == (
        "23 MB of ratings are prepared in 1.5 (1.0 to 2.0) s; the published pandas code takes 6.0 (one window) s, 4.0 "
        "times it."
    )
    assert sentences["serve-quality"] == (
        "of 1 conversions onnx-int8 differs most from tensorflow: 6 of 9 lists are the same but for ties, and NDCG@100 "
        "is -0.0250."
    )
    assert sentences["trainings"] == (
        "of 2 whole trainings vaecf:shallow is the first to reach a validation NDCG@100 of 0.2500, after 22 (20 to 24) "
        "s; the best value is that of implicit:als, 0.5000 (one window)."
    )
    assert sentences["release"] == (
        "2,000 requests were answered while a version was released; the longest took 12.5 ms (served)."
    )
    assert sentences["check-verdict"] == "1 of 2 parts could be judged; slower: 4 slowed by 25%: serving."
    assert sentences["embeddings"] == (
        "with 8 lookups an update by rows is faster than one of the whole table from 16 rows on (of the sizes "
        "measured)."
    )


def test_date_machine_and_summary_come_before_everything_else() -> None:
    pictures.assert_page(REPORT.as_html(_every_kind()))
    facts = dict(REPORT.facts(REPORT.sections(_every_kind())))
    assert facts["Measured"] == "2026-01-31 23:59 UTC"
    assert facts["Machine"] == "<one>, 2 cores, 4.5 GiB of memory, no GPU"
    note = REPORT.as_markdown(_every_kind())
    assert note.startswith("Measured: 2026-01-31 23:59 UTC  \nMachine: <one>")
    assert note.index("- Speed-up ladder: the fastest rung") < note.index("### Speed-up ladder")


def test_the_first_screen_has_the_main_figures() -> None:
    page = REPORT.as_html(_every_kind())
    boxes = re.findall(r"<div class=tile><b>(.*?)</b>(.*?)(?:<span>(.*?)</span>)?</div>", page)
    share = "50% (one window) of what the machine allows"
    assert boxes[0] == ("1,234 users/s", "training step of VAE-CF, batch 500, fp32", share)
    figures = ["4 samples/s", "2.75 (2.50 to 3.00) times", "1.60 (1.50 to 1.75) times", "2.00 ms"]
    assert [figure for figure, _, _ in boxes[1:]] == figures
    assert boxes[-1][2] == "4.00 ms at the 99th percentile"
    assert page.index("class=tiles") < page.index("<dt>Measured")


@pytest.mark.parametrize("kind", list(FRONT))
def test_a_record_without_the_fields_has_no_box(kind: str) -> None:
    assert FRONT[kind]([{"kind": kind}]) is None


def test_dates_and_machines_of_several_records() -> None:
    other = {"time": "2026-02-01T00:30:00+00:00", "machine": {"cpu": "b", "gpus": ["H100"]}}
    facts = REPORT.facts(REPORT.sections([ABOUT | _train(500, 1.0), ABOUT | _peer() | other]))
    assert ("Measured", "2026-01-31 23:59 to 2026-02-01 00:30 UTC") in facts
    assert ("Machine", "b, GPU: H100 (of: Comparison with PyTorch)") in facts


def test_records_without_circumstances_are_shown() -> None:
    """As the earliest ones: no time, no machine, no windows of the limit."""
    page = REPORT.as_html([_train(500, 1.0), {"kind": "ncf", "shape": "a", "batch_size": 5, "precision": "fp32"}])
    assert "date not recorded" in page and page.count("<table>") == 2


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("kind", list(PLOTS))
def test_plots_have_units_intervals_and_room(kind: str, width: float) -> None:
    figure = PLOTS[kind].draw([row for row in _every_kind() if row["kind"] == kind], width)
    assert figure is not None
    pictures.assert_units(figure)
    pictures.assert_intervals(figure)
    pictures.assert_room(figure, width)


WORDS = {"rung", "precision", "model", "engine", "shape", "sizes", "way", "bound by", "layers"}
WORDS |= {"system", "phase", "difference", "ours", "PyTorch", "set", "part", "verdict", "why"}


@pytest.mark.parametrize("kind", list(TABLES))
def test_columns_of_numbers_have_units_and_values(kind: str) -> None:
    headers = [header for header, _ in TABLES[kind].columns]
    assert [h for h in headers if h not in WORDS and not re.fullmatch(r".+ \(.+\)", h)] == []
    more = {"peer_peak_gib": 2.0, "peak_gib": 1.0, "published_step": 2.0, "recall@20": 0.5}
    more |= {"limit_users_per_second": [9.0], "limit_samples_per_second": [9.0]}
    rows = [more | {k: v for k, v in row.items() if v is not None} for row in _every_kind() if row["kind"] == kind]
    assert [header for header, cell in TABLES[kind].columns if not any(map(cell, rows))] == []


def test_the_whole_step_spans_its_rounds() -> None:
    figure = PLOTS["scaling"].draw([_scaling()], WIDE)
    assert figure is not None
    (step,) = [c for c in figure.axes[0].containers if c.get_label() == "whole step"]
    assert step.lines[2][0].get_segments()[0][:, 0] == pytest.approx([500.0, 2000.0])


def test_the_intervals_of_a_ladder_are_its_rounds() -> None:
    figure = PLOTS["speedup"].draw(_speedup(), WIDE)
    assert figure is not None
    (bars,) = [c for c in figure.axes[0].containers if isinstance(c, ErrorbarContainer)]
    ends = [segment[:, 0].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [[10.0 * k, 12.0 * k] for k in range(1, 7)]


@pytest.mark.parametrize("kind", list(SUMMARIES))
def test_a_record_without_the_fields_has_no_sentence(kind: str) -> None:
    """For each field: the summary of the kind does without it, or leaves the record out."""
    assert SUMMARIES[kind]([{"kind": kind}]) == []
    rows = [row for row in _every_kind() if row["kind"] == kind]
    for name in rows[0]:
        assert all(SUMMARIES[kind]([{k: v for k, v in row.items() if k != name} for row in rows]))
