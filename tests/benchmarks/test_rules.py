"""Which rules of measuring each benchmark goes through; `tests/recsys_core/test_rounds.py` breaks every one of them.

rounds: windows in turn, busy ones discarded, counted and measured again. warm-up: until windows agree. percentiles:
only of enough times. ranges: the median with the minimum and the maximum. status: 4 where no figure is valid.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import release
from benchmarks.__main__ import COMMAND_LINE, main
from benchmarks.release import Load
from benchmarks.tables import TABLES
from recsys_core.measuring import conditions
from recsys_core.measuring.conditions import Watch
from recsys_core.measuring.processes import Cost

ALL = {"rounds", "warm-up", "ranges", "status"}
RULES: dict[str, set[str]] = {
    "prep": ALL - {"warm-up"},  # each run is a new process, as users run it: `COLD` in the record
    "train": ALL,
    "ncf": ALL,
    "speedup": ALL,
    "scaling": ALL,
    "embeddings": ALL,
    "peers": ALL,
    "trainings": ALL - {"warm-up"},  # each training is a new process, as its users start it: `COLD` in the record
    "evaluate": ALL,
    "serve": ALL | {"percentiles"},
    "batch": ALL,
    "release": {"percentiles", "status"},  # one release: its phases are no windows of the same
    "check": ALL,
    "input": ALL - {"warm-up"},  # the first batch is a figure of its own
    "memory": set(),  # peak memory, which other programs do not change; its seconds are of one run, and no figure
}
OTHERS = {"suite", "report", "compare", "gpu", "record"}
"""Actions that measure nothing themselves, and that of one GPU, which has its own clock and conditions."""
WHERE: dict[str, tuple[str, ...]] = {
    "train": ("train", "steps"),
    "ncf": ("ncf", "steps"),
    "speedup": ("speedup", "ladder"),
    "scaling": ("scaling", "scaling_rank", "steps"),
    "peers": ("peers", "steps", "torch_peer"),
    "check": ("check", "check_parts"),
}
"""Command -> the modules that measure for it, where it is not its own alone."""
USED: dict[str, set[str]] = {
    "rounds": {"in_rounds", "fields"},
    "warm-up": {"warm_up"},
    "percentiles": {"latency_fields"},
}
"""Rule -> the functions that hold it."""


def _names(command: str) -> set[str]:
    """Names that the modules of a command use, torch's too, which need not be installed."""
    found = set()
    for module in WHERE.get(command, (command,)):
        path = Path(inspect.getfile(release)).parent / f"{module}.py"
        found |= {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    return found


def test_every_command_is_listed() -> None:
    assert set(COMMAND_LINE.actions) == (set(RULES) - {"input", "memory"}) | OTHERS


@pytest.mark.parametrize("command", list(RULES))
def test_a_command_goes_through_its_rules(command: str) -> None:
    for rule, functions in USED.items():
        assert (functions <= _names(command)) == (rule in RULES[command]), rule


@pytest.mark.parametrize("command", list(RULES))
def test_no_command_has_percentiles_of_its_own(command: str) -> None:
    for module in WHERE.get(command, (command,)):
        source = (Path(inspect.getfile(release)).parent / f"{module}.py").read_text()
        assert "np.percentile" not in source and "np.quantile" not in source


@pytest.mark.parametrize("kind", [name for name, rules in RULES.items() if "ranges" in rules and name in TABLES])
def test_a_figure_of_windows_is_shown_with_its_range(kind: str) -> None:
    names = {"users_per_second", "samples_per_second", "examples_per_second", "wall_s", "dense_ms", "ratio", "target_s"}
    row: dict[str, Any] = {name: [1.0, 2.0, 4.0] for name in names} | {"rung": {"name": "a", "batch": 1}, "engine": "a"}
    row["rung"] |= {"precision": "fp32", "ranks": 1}
    assert "to 4" in TABLES[kind].as_text([row])


def test_p99_of_a_release_needs_a_thousand_requests() -> None:
    load = Load(ports=SimpleNamespace(), items=[], clients=1, pause=0.0)  # type: ignore[arg-type]
    load.answered += [(k, 0.001 * (1 + k % 7)) for k in range(999)]
    assert load.between(0, 999)["p99_ms"] is None and load.between(0, 50)["p50_ms"] is None
    load.answered.append((999, 0.001))
    assert load.between(0, 1_000)["p99_ms"][0] == pytest.approx(7.0)


def _preparation(monkeypatch: pytest.MonkeyPatch, others: Callable[[], float]) -> list[str]:
    """`benchmarks prep` whose runs take no time, on a machine of which other programs take a share."""
    monkeypatch.delenv("RECSYS_BUSY", raising=False)
    runs: list[str] = []

    def cost(command: list[str]) -> Cost:
        runs.append(command[2])
        return Cost(wall_s=float(len(runs)), cpu_s=1.0, peak_bytes=2**30, output="")

    monkeypatch.setattr("benchmarks.prep.cost_of", cost)
    monkeypatch.setattr(Watch, "since", lambda self: {"seconds": 5.0, "others": others(), "steal": 0.0})
    return runs


def test_a_command_discards_a_busy_round_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, results = tmp_path / "ratings.csv", tmp_path / "r.jsonl"
    raw.write_text("u,i\n")
    shares = iter([0.9, 0.0, 0.9, 0.0, 0.0])
    runs = _preparation(monkeypatch, lambda: next(shares, 0.9))  # busy again after the last round: that does not matter
    assert main(["prep", "--raw", str(raw), "--rounds", "3", "--results", str(results)]) == 0
    assert runs == ["data_prep", "benchmarks.published_prep"] * 5
    ours, pandas = (json.loads(line) for line in results.read_text().splitlines())
    assert (ours["wall_s"], pandas["wall_s"]) == ([3.0, 7.0, 9.0], [4.0, 8.0, 10.0])
    assert ours["rounds"]["discarded"] == 2 and ours["invalid"] == []


def test_a_command_without_a_valid_figure_has_its_own_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "ratings.csv"
    raw.write_text("u,i\n")
    runs = _preparation(monkeypatch, lambda: 0.9)
    words = ["prep", "--raw", str(raw), "--rounds", "2", "--without-pandas", "--results", str(tmp_path / "r.jsonl")]
    assert main(words) == conditions.BUSY
    assert len(runs) == 6, "three times as many as wanted, and no more"
    assert capsys.readouterr().err.startswith("not valid: 1 record (prep: 0 of 6 rounds count, 2 are needed: other ")


def test_modules_of_the_rules_exist() -> None:
    assert all(callable(import_module(f"benchmarks.{name}").main) for name in RULES if name != "memory")
