"""A run that is killed between any two of its writes and resumed ends as one that was never killed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT, _environment

BETWEEN = {
    "trained state.json 1": (None, [], None),
    "trained step-00000003 1": ("running", [3], None),
    "trained best.json 1": ("running", [3], None),
    "trained step-00000006 1": ("running", [3, 6], None),
    "trained result.json 1": ("running", [3, 6], None),
    "trained state.json 2": ("running", [3, 6], None),
    "solved export 1": ("finished", [], None),
    "solved result.json 2": ("finished", [], 36),
    "solved state.json 3": ("finished", [], 36),
    "replaced": ("finished", [], None),
}
"""Case -> the state, the logged steps and the items of an answer of the export right after the kill."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("kills")
    words = [sys.executable, "-m", "tests.recsys_core.run_kills", str(place)]
    done = subprocess.run(words, cwd=ROOT, env=_environment(None), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("case"): line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("case", BETWEEN)
def test_a_killed_run_ends_as_one_that_was_never_killed(case: str, runs: dict[str, Any]) -> None:
    run, straight = runs[case], runs[case.split()[0] if case != "replaced" else "solved"]
    between = run["between"]
    assert (run["killed"], run["again"]) == (-9, 0)
    assert (between["state"], between["trained"], between["export"]) == BETWEEN[case]
    assert between["export_is_whole"]
    assert run["test"] == straight["test"]
    assert run["state"] == straight["state"]
    assert run["export"] == (7 if case == "replaced" else straight["export"])
    assert run["trained"] == straight["trained"]  # no step is logged twice
    assert run["litter"] == []
