"""MLPerf's LoadGen: its log files are read right, and where it is installed it drives a target of this package."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from load_study.traffic.mlperf import loadgen_module, read_run, run_server_scenario
from load_study.traffic.queries import AnswerCallback, Query


def _log(folder: Path, *, queries: int, late: int, validity: str = "VALID") -> None:
    """Files as LoadGen 6.0.17 writes them, shortened: three queries of 10, 60 and 20 ms."""
    values = {"result_query_count": queries, "result_overlatency_query_count": late, "result_validity": validity}
    lines = [f":::MLLOG {json.dumps({'key': key, 'value': value, 'time_ms': 4040.2})}" for key, value in values.items()]
    (folder / "mlperf_log_detail.txt").write_text("\n".join(["", *lines, ""]))
    (folder / "mlperf_log_trace.json").write_text(
        '{"traceEvents":[\n{"name":"IssueQuery","ph":"X","pid":8,"tid":8,"ts":202.761,"dur":35.073,"args":{}},\n'
        + "".join(
            f'{{"name":"Sample","cat":"default","ph":"b","pid":8,"id":{k},"ts":202.591,"args":{{"sample_seq":{k},'
            f'"query_seq":{k},"sample_idx":156,"issue_start_ns":{sent},"complete_ns":{done}}}}},\n'
            f'{{"name":"Sample","cat":"default","ph":"e", "pid":8,"id":{k},"ts":10395.668}},\n'
            for k, (sent, done) in enumerate([(80, 10_000_000), (3_000_000, 60_000_000), (90, 20_000_000)])
        )
    )


def test_latencies_and_lateness_come_from_the_trace(tmp_path: Path) -> None:
    _log(tmp_path, queries=3, late=1)
    found = read_run(tmp_path, 0.05)
    np.testing.assert_allclose(found.of_all.seconds, [0.01, 0.06, 0.02])
    np.testing.assert_allclose(found.lateness, [8e-8, 3e-3, 9e-8])
    assert found.is_valid
    assert found.invalid_reason == "LoadGen sent 33% of the queries more than 1 ms late (at most 1%)"


def test_the_verdict_is_that_of_loadgen(tmp_path: Path) -> None:
    _log(tmp_path, queries=3, late=1, validity="INVALID")
    assert not read_run(tmp_path, 0.05).is_valid


@pytest.mark.parametrize(("queries", "late"), [(4, 1), (3, 2)])
def test_a_trace_that_is_not_that_of_the_result_is_an_error(tmp_path: Path, queries: int, late: int) -> None:
    _log(tmp_path, queries=queries, late=late)
    with pytest.raises(RuntimeError, match=r"LoadGen's trace has \(queries, late ones\) \(3, 1\), its result"):
        read_run(tmp_path, 0.05)


def test_without_loadgen_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(
        ValueError, match=r"LoadGen is not installed; install the extra: pip install -e '\.\[loadgen\]'"
    ):
        loadgen_module()


class Immediate:
    """Answers before `submit` returns."""

    is_simulated = False

    def __init__(self, error: str | None = None) -> None:
        self.sizes: list[int] = []
        self._error = error

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        self.sizes.append(query.size)
        on_answer(query, 0.0, self._error)


def test_loadgen_sends_the_sizes_of_its_library_at_the_rate() -> None:
    pytest.importorskip("mlperf_loadgen", reason="needs the extra loadgen")
    target = Immediate()
    found = run_server_scenario(target, [3, 5, 7], rate=200, level=0.95, limit_s=0.2, seconds=1.0, fewest=20, seed=1)
    assert set(target.sizes) == {3, 5, 7}
    assert len(found.of_all.seconds) == len(target.sizes) == pytest.approx(200, abs=5 * 200**0.5)
    again = Immediate()
    run_server_scenario(again, [3, 5, 7], rate=200, level=0.95, limit_s=0.2, seconds=1.0, fewest=20, seed=1)
    assert again.sizes == target.sizes  # the seed decides


def test_a_failed_query_is_not_a_fast_one() -> None:
    pytest.importorskip("mlperf_loadgen", reason="needs the extra loadgen")
    with pytest.raises(RuntimeError, match="queries of LoadGen failed: out of memory"):
        run_server_scenario(
            Immediate("out of memory"), [1], rate=100, level=0.95, limit_s=0.2, seconds=0.2, fewest=10, seed=0
        )
