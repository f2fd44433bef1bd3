"""`--export` takes the folder of a run or its export, and says why a run has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from load_study.options import chosen_subjects
from serving.__main__ import main
from serving.export_folder import find_export, open_export
from tests.conftest import ROOT

STORED = ROOT / "tests" / "format_1" / "vae"
GATE = {"condition": "ndcg@100>1.1*popularity", "reached": 0.19, "wanted": 0.24581, "passed": False}


def _run(folder: Path, *, conditions: list[dict[str, Any]] | None = None) -> Path:
    """A run without an export; `conditions` of its gate, None if its training has not finished."""
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    if conditions is not None:
        gate = {"passed": all(c["passed"] for c in conditions), "conditions": conditions}
        (folder / "result.json").write_text(json.dumps({"gate": gate}))
    return folder


def test_the_export_in_a_run_is_found() -> None:
    assert find_export(STORED) == find_export(STORED / "export") == STORED / "export"
    assert open_export(STORED).folder == STORED / "export"


@pytest.mark.parametrize("inside", ["", "export"])
def test_a_run_that_missed_its_gate_says_so(tmp_path: Path, inside: str) -> None:
    run = _run(tmp_path / "run", conditions=[GATE, GATE | {"condition": "recall@20>=0.1", "passed": True}])
    with pytest.raises(ValueError) as refused:
        open_export(run / inside)
    assert str(refused.value) == (
        f"{run} has no export: it missed its gate (ndcg@100>1.1*popularity: reached 0.19, wanted 0.2458); train longer "
        "or with another preset or --gate"
    )


def test_the_interval_that_missed_is_told(tmp_path: Path) -> None:
    more = {"reached": 0.28, "low": -0.0192, "high": 0.0721, "interval_of": "difference", "users": 60}
    run = _run(tmp_path / "run", conditions=[GATE | more])
    with pytest.raises(ValueError, match=r"reached 0.28, wanted 0.2458, interval of the difference from -0.0192\)"):
        find_export(run)


def test_a_run_that_has_not_finished_says_so(tmp_path: Path) -> None:
    run = _run(tmp_path / "run")
    with pytest.raises(ValueError, match=f"{run} has no export: its training has not finished; .* --resume {run}$"):
        open_export(run)


def test_other_folders_are_no_exports(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--export .* holds no export \(no export.json\); give the folder of a run"):
        open_export(tmp_path)
    with pytest.raises(ValueError, match=r"--export .*/nothing does not exist; give the folder of a run"):
        open_export(tmp_path / "nothing")
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"has no export, and its result.json is damaged"):
        open_export(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("convert",),
        ("check",),
        ("verify",),
        ("recommend",),
        ("triton", "build", "--repository", "models"),
        ("publish", "--repository", "models"),
    ],
)
def test_every_command_says_why_there_is_no_export(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _run(tmp_path / "run", conditions=[GATE])
    assert main([*words, "--export", "run"]) == 2
    assert capsys.readouterr().err.startswith("error: run has no export: it missed its gate (ndcg@100>1.1*popularity")


def test_the_conversions_of_a_run_are_looked_for_beside_its_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(STORED, run)
    for given in (run, run / "export"):
        assert main(["recommend", "--export", str(given), "--model", "onnx-fp32", "--user", "2"]) == 2
        assert capsys.readouterr().err == (
            f"error: {run}/converted/onnx-fp32 holds no model; make it with: python -m serving convert "
            f"--export {run} --to onnx --precision fp32\n"
        )


def test_the_load_study_takes_the_folder_of_a_run() -> None:
    import argparse

    from load_study.options import add_subject_flags

    parser = argparse.ArgumentParser()
    add_subject_flags(parser)
    (subject,) = chosen_subjects(parser.parse_args(["--export", str(STORED)]))
    assert subject.export == STORED / "export"
