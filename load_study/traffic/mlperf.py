"""The server scenario of MLPerf's LoadGen on a target: its arrivals, its clock, its percentiles and its verdict.

LoadGen (Reddi et al., MLPerf Inference Benchmark, ISCA 2020) draws Poisson arrivals and measures each query from the
time it was scheduled. It takes the time of an answer when it hears of it; this package takes it in the engine, so
LoadGen's latencies hold the way back too.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from load_study.traffic.latency import Latencies
from load_study.traffic.queries import Query, Target
from load_study.traffic.result import LATE_S, late_reason

QUERY = re.compile(r'"cat":"default","ph":"b".*?"issue_start_ns":(\d+),"complete_ns":(\d+)')
"""A query in LoadGen's trace: nanoseconds from when it was scheduled until it was sent, and until it was answered."""
SEEDS = ("schedule_rng_seed", "sample_index_rng_seed", "qsl_rng_seed")


def loadgen_module() -> ModuleType:
    """The module of LoadGen.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import mlperf_loadgen
    except ImportError:
        raise ValueError("MLPerf's LoadGen is not installed; install the extra: pip install -e '.[loadgen]'") from None
    return mlperf_loadgen


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadGenWindow:
    """What LoadGen measured in one run."""

    of_all: Latencies
    """Of every query, from when it was scheduled, in the order they were scheduled."""
    lateness: np.ndarray
    """Seconds from scheduled to sent, of every query."""
    is_valid: bool
    """LoadGen's verdict. It asks for more than a percentile within the target: that it is so with a confidence of
    99 % (early stopping), which takes many queries."""

    @property
    def invalid_reason(self) -> str | None:
        """Why nothing follows from it; None where LoadGen kept its times. The same rule as for this generator."""
        return late_reason(float((self.lateness > LATE_S).mean()), "LoadGen")


class _Answers:
    """Sends the queries of LoadGen to a target and tells LoadGen of the answers."""

    def __init__(self, module: ModuleType, target: Target, sizes: Sequence[int]) -> None:
        self._module, self._target, self._sizes = module, target, sizes
        self._lock = threading.Lock()
        self._ids: dict[int, int] = {}
        self._errors: list[str] = []

    def issue(self, samples: Sequence[Any]) -> None:
        """Called by LoadGen; must not block."""
        for sample in samples:
            with self._lock:
                number = len(self._ids)
                self._ids[number] = sample.id
            self._target.submit(Query(number, 0.0, self._sizes[sample.index]), self._answered)

    def _answered(self, query: Query, finished: float, error: str | None) -> None:
        with self._lock:
            sample = self._ids[query.number]
            if error:
                self._errors.append(error)
        self._module.QuerySamplesComplete([self._module.QuerySampleResponse(sample, 0, 0)])

    def raise_errors(self) -> None:
        """LoadGen knows no failed query: it would count as a fast one."""
        if self._errors:
            raise RuntimeError(f"{len(self._errors)} queries of LoadGen failed: {self._errors[0]}")


def run_server_scenario(
    target: Target,
    sizes: Sequence[int],
    *,
    rate: float,
    level: float,
    limit_s: float,
    seconds: float,
    fewest: int,
    seed: int,
) -> LoadGenWindow:
    """One run of LoadGen's server scenario; it returns when every query is answered.

    Args:
        sizes: of the samples of its library; each query asks for one of them.
        level, limit_s: this share of the queries must be answered in so many seconds.
        seconds: of the window, at least.
        fewest: queries of the window, at least.

    Raises:
        RuntimeError: a query failed, or LoadGen's trace and its result differ.
    """
    module = loadgen_module()
    answers = _Answers(module, target, sizes)
    settings = module.TestSettings()
    settings.scenario, settings.mode = module.TestScenario.Server, module.TestMode.PerformanceOnly
    settings.server_target_qps = rate
    settings.server_target_latency_ns = round(1e9 * limit_s)
    settings.server_target_latency_percentile = level
    settings.min_duration_ms, settings.min_query_count = round(1e3 * seconds), fewest
    for name in SEEDS:
        setattr(settings, name, seed)
    sut = module.ConstructSUT(answers.issue, lambda: None)
    library = module.ConstructQSL(len(sizes), len(sizes), lambda samples: None, lambda samples: None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            logs = module.LogSettings()
            logs.log_output.outdir, logs.enable_trace = folder, True
            module.StartTestWithLogSettings(sut, library, settings, logs)
            answers.raise_errors()
            return read_run(Path(folder), limit_s)
    finally:
        module.DestroyQSL(library)
        module.DestroySUT(sut)


def read_run(folder: Path, limit_s: float) -> LoadGenWindow:
    """The result of a run in LoadGen's log files.

    Raises:
        RuntimeError: the queries of the trace are not those of the result.
    """
    result = _result_fields(folder / "mlperf_log_detail.txt")
    found = QUERY.findall((folder / "mlperf_log_trace.json").read_text())
    times = np.array(found, dtype=np.float64).reshape(-1, 2) / 1e9
    seconds = times[:, 1]
    counts = len(seconds), int((seconds > limit_s).sum())
    expected = int(result["result_query_count"]), int(result["result_overlatency_query_count"])
    if counts != expected:
        raise RuntimeError(f"LoadGen's trace has (queries, late ones) {counts}, its result {expected}")
    return LoadGenWindow(of_all=Latencies(seconds), lateness=times[:, 0], is_valid=result["result_validity"] == "VALID")


def _result_fields(file: Path) -> Mapping[str, Any]:
    """Key -> value of LoadGen's detailed log."""
    marked = (line.partition(":::MLLOG ")[2] for line in file.read_text().splitlines())
    return {event["key"]: event["value"] for event in map(json.loads, filter(None, marked))}
