"""What users get wrong when they train or evaluate: one line, status 2, nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, _environment
from vaecf import evaluate, train

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run training in this process, expect status 2 and one line, and no run folder."""

    def run(*words: str | Path, data: Path | None = None, run_dir: Path | None = None, early: bool = False) -> str:
        target = run_dir or tmp_path / "run"
        existed = target.exists()
        assert train.main(["--data", str(data or tiny_data), "--run-dir", str(target), *map(str, words)]) == 2
        *before, last = capsys.readouterr().err.strip().splitlines()
        assert before == [] or before[-1] == "starting TensorFlow ..."  # then three lines that say what was asked for
        assert len(before) in ((0,) if early else (0, 3))
        assert last.startswith("error: ")
        assert target.exists() == existed
        return last

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "fast"], "unknown preset 'fast', known are: paper, shallow, nvidia, quick"),
        (["--metrics", "auc@5"], "unknown metric 'auc@5', expected NAME@K"),
        (["--primary", "ndcg"], "unknown metric 'ndcg'"),
        (["--precision", "fp8"], "unknown precision 'fp8', known are: fp32, tf32, bf16, fp16, auto"),
        (["--gate", "ndcg@100"], "--gate is 'ndcg@100', expected METRIC>=NUMBER"),
        (["--gate", "ndcg@100>=2*ease"], "'ease' is not evaluated"),
        (["--baselines", "random"], "unknown baseline 'random', known are: popularity, ease"),
        (["--kind", "gan"], "unknown --kind 'gan', known are: vae, dae"),
        (["--batch-size", "-1"], "--batch-size is -1, expected 0 or more"),
        (["--epochs", "-1"], "--epochs is -1"),
        (["--learning-rate", "0"], "--learning-rate is 0.0, expected more than 0"),
        (["--learning-rate-schedule", "step"], "unknown learning rate schedule 'step'"),
        (["--dropout", "1"], "--dropout is 1.0"),
        (["--top-k", "0"], "--top-k is 0"),
        (["--config", "nowhere.yaml"], "--config nowhere.yaml does not exist"),
        (["--resume"], "holds no run (no run.json)"),
        (["--epoch", "3"], "unknown flag --epoch; did you mean --epochs?"),
        (["--gpu-memory", "3"], "unknown flag --gpu-memory; did you mean --device-memory?"),
        (["--jjj", "3"], "unknown flag --jjj; all flags: python -m vaecf.train --help-all"),
        (["--step", "fast"], "unknown step 'fast', known are: auto, sparse, compiled"),
        (["--device-memory", "-1"], "--device-memory is -1.0, expected a number of GiB, 0 or more"),
        (["--prset", "quick"], "unknown flag --prset; did you mean --preset?"),
        (["--epochs", "ten"], "--epochs is 'ten', expected a whole number; see --help"),
        (["--epochs", "2.5"], "--epochs is '2.5', expected a whole number; see --help"),
        (["--learning-rate=fast"], "--learning-rate is 'fast', expected a number; see --help"),
        (["--hidden", "600", "x"], "--hidden is 'x', expected a whole number; see --help"),
        (["--seed"], "--seed has no value, expected a whole number; see --help"),
        (["--seed", "1", "2"], "--seed takes one value, '1 2' follows it"),
        (["--xla", "true"], "--xla takes no value, 'true' follows it"),
        (["--preset"], "--preset: expected one argument; see --help"),
    ],
)
def test_bad_arguments(words: list[str], message: str, refuse: Refuse) -> None:
    """A flag is refused before TensorFlow starts."""
    assert message in refuse(*words, early=True)


def test_no_data_set(refuse: Refuse, tmp_path: Path) -> None:
    assert "is no prepared data set (no manifest.json); make one with: python -m data_prep" in refuse(data=tmp_path)


def test_a_damaged_data_set(refuse: Refuse, tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data, tmp_path / "copy")
    path = tmp_path / "copy" / "train.indices.npy"
    path.write_bytes(path.read_bytes()[:-4])
    assert "train.indices.npy is not what was written" in refuse(data=tmp_path / "copy")


def test_an_older_format(refuse: Refuse, tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data, tmp_path / "copy")
    path = tmp_path / "copy" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 0}))
    assert "has data format version 0, this program reads 1" in refuse(data=tmp_path / "copy")


def test_a_run_folder_that_exists(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert "exists; choose another" in refuse()
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written(refuse: Refuse) -> None:
    assert "/proc/run cannot be made" in refuse(run_dir=Path("/proc/run"))


@pytest.mark.ranks
def test_a_batch_smaller_than_the_ranks(tiny_data: Path, on_ranks: Callable, tmp_path: Path) -> None:
    done = on_ranks(2, "vaecf.train", "--data", tiny_data, "--run-dir", tmp_path / "run", "--batch-size", "1")
    assert done.returncode != 0
    assert "--batch-size is 1, expected at least one user for each of the 2 ranks" in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


def test_a_full_disk_while_training(tiny_data: Path, tmp_path: Path) -> None:
    """Files over 50 kB are refused, as a full disk refuses them: the first checkpoint fails, in one line."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
        "from vaecf.train import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["--data", str(tiny_data), "--run-dir", str(tmp_path / "run"), "--preset", "quick", "--epochs", "2"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, env=_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert f"error: cannot write {tmp_path / 'run' / 'checkpoints'}" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run" / "checkpoints").glob("*step*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--run-dir", "nowhere"], "holds no run"), (["--run-dir", "RUN", "--split", "train"], "unknown --split 'train'")],
)
def test_evaluating_what_is_not_there(
    words: list[str], message: str, tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(f"data: {tiny_data}\nrun_dir: {tmp_path}\n")
    assert evaluate.main([w if w != "RUN" else str(tmp_path) for w in words]) == 2
    assert message in capsys.readouterr().err


def test_evaluating_other_items_is_refused(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from data_prep.__main__ import main

    other = tmp_path / "other"
    words = ["--users", "80", "--items", "60", "--interactions", "1500", "--out", str(other)]
    assert main(["synthetic", *words]) == 0
    (tmp_path / "config.yaml").write_text(f"data: {tiny_data}\nrun_dir: {tmp_path}\n")
    assert evaluate.main(["--run-dir", str(tmp_path), "--data", str(other)]) == 2
    assert "has other items than" in capsys.readouterr().err
