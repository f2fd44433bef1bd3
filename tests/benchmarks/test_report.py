"""The report shows what was measured, the newest of each setting, and needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.report import REPORT
from benchmarks.rungs import ladder
from benchmarks.tables import TABLES
from recsys_core.measuring import cells

ABOUT = {
    "command": "python -m benchmarks it <now>",
    "machine": {"cpu": "<one>", "gpus": []},
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
    rates = {"gemm_gflops": [100.0], "memory_gb_per_second": [10.0]}
    step = {"operations": 1e9, "bytes": 1e7, "operations_per_byte": 100.0, "ridge": 10.0, "bound": "compute"}
    return rates | step | {"share_of_limit": [0.5]}


def _ncf() -> dict[str, Any]:
    return {"kind": "ncf", "shape": "he2017-8", "batch_size": 5, "precision": "fp32", "samples_per_second": [4.0]}


def _scaling() -> dict[str, Any]:
    parts = {"step": 1.0, "compute": 0.7, "exposed_communication": 0.2, "input": 0.1, "exchange_alone": 0.3}
    return {"kind": "scaling", "model": "vae", "ranks": 2, "batch_size": 8, "strong": None, "predicted": 0.9} | parts


def _peer() -> dict[str, Any]:
    rates = {"examples_per_second": [9.0], "peer_examples_per_second": [3.0], "ratio": [3.0]}
    return {"kind": "peers", "model": "vae", "batch_size": 500, "precision": "fp32"} | rates


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
    assert text.count("<svg") == 5, "one plot each for speedup, train, ncf, scaling and peers"
    assert "0.4000 ± 0.0100" in text and "1,234 (1,234 to 1,234)" in text
    assert "&lt;one&gt;" in text and "it &lt;now&gt;" in text and "<one>" not in text
    assert "| 1,234 (1,234 to 1,234)" in note.read_text()
    assert "    python -m benchmarks it <now>" in note.read_text()


def test_records_without_a_roofline_have_a_table_and_no_plot() -> None:
    page = REPORT.as_html([_train(500, 1_234.0)])
    assert "<table>" in page and "<svg" not in page


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
    assert text.count("<svg") == text.count("<table>") == text.count("<h3>") == 2
    assert "data: one, epochs: 0" in text


def test_a_result_is_no_setting() -> None:
    line = {"kind": "serve", "engine": "onnx", "batch": 32, "runs": 7, "p50_ms": 1.0}
    assert len(REPORT.sections([line, line | {"runs": 8}])["serve"]) == 1


def test_empty_columns_are_left_out() -> None:
    shown = TABLES["train"].as_text([_train(500, 7.0)])
    assert "users/s" in shown and "peak GiB" not in shown


def test_medians_and_scales() -> None:
    assert cells.number("x", ".1f", 1e3)({"x": [0.001, 0.002, 0.009]}) == "2.0"
    assert cells.windows("x", ".0%")({"x": [0.5, 0.75, 0.7]}) == "70% (50% to 75%)"
    assert cells.number("x", ".1f")({}) == cells.plain("x")({}) == cells.windows("x", "f")({}) == ""


def test_nothing_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", *_file(tmp_path / "r.jsonl", [{"kind": "other"}]), "--html", str(tmp_path / "p")]) == 1
    assert "holds nothing to report" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
