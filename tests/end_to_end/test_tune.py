"""`tune` with real processes: killed and resumed, the preset file that it leaves, and users that it must not see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import yaml

from ncf_tf.config import SPEC as NCF
from recsys_core.config import ModelSpec
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.tuning.pruning import Prune
from recsys_core.tuning.trial import Task, TrialResult, run, without_test_users
from recsys_core.world import World
from tests.conftest import ROOT, _environment
from vaecf.config import SPEC as VAECF


class Untouchable:
    """In place of the test users: any use of them fails the test."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test users' {name} were asked for")


def a_trial(
    spec: ModelSpec,
    data: Dataset,
    metric: str,
    folder: Path,
    tell: Callable[[float, float], bool],
    seed: int = 3,
    **settings: Any,
) -> TrialResult:
    unseen = without_test_users(replace(data, test=Untouchable()))  # type: ignore[arg-type]
    assert unseen.fingerprint == data.fingerprint
    task = Task(spec=spec, preset="quick", data=unseen, metric=metric, seed=seed, evaluate_every=1)
    return run(task, settings, folder, Prune(tell), World())


def test_a_trial_sees_no_test_users_and_leaves_no_model(tiny_data: Path, tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []

    def tell(epoch: float, value: float) -> bool:
        told.append((epoch, value))
        return epoch == 2

    found = a_trial(VAECF, Dataset.open(tiny_data), "recall@20", tmp_path / "t", tell, epochs=5, latent=16)
    assert [epoch for epoch, _ in told] == [1.0, 2.0]
    assert not found.is_whole
    assert (found.value, found.epoch) == max((value, epoch) for epoch, value in told)
    assert found.error is not None and 0 < found.error < 0.1
    assert {p.name for p in (tmp_path / "t").iterdir()} == {"run.json", "config.yaml", "state.json"}


def test_a_trial_of_ncf(tiny_pairs: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "negatives": 2}
    found = a_trial(NCF, Dataset.open(tiny_pairs), "hr@10", tmp_path / "t", lambda *_: False, **settings)
    assert found.is_whole and found.epoch == 1.0 and 0 < found.value < 1


def test_settings_that_do_not_go_together(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--average-from is 9, expected at most --epochs, 5"):
        a_trial(
            VAECF, Dataset.open(tiny_data), "ndcg@100", tmp_path / "t", lambda *_: False, epochs=5, average=0.5,
            average_from=9,
        )  # fmt: skip


def started(words: list[str]) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", *words]
    return subprocess.Popen(line, cwd=ROOT, env=_environment(None), stdout=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def test_killed_and_resumed(tiny_data: Path, tmp_path: Path, python: Any) -> None:
    out, run_dir = tmp_path / "search", tmp_path / "run"
    words = ["vaecf.tune", "--data", str(tiny_data), "--out", str(out), "--preset", "quick", "--trials", "3"]
    words += ["--space", "epochs=3", "hidden=none", "latent=16..64"]
    process = started(words)
    wait_for(lambda: (out / "trials" / "00001").is_dir())  # the first one is finished, the second one is running
    busy = python(*words)
    assert busy.returncode == 2 and f"another process searches in {out}" in busy.stderr
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "a worker ends with the command that started it"
    first = (out / "best.yaml").read_text()  # the answer so far
    assert "trial 0 of 1 (1 complete" in first and yaml.safe_load(first)["training"]["epochs"] == 3

    done = python(*words)
    assert done.returncode == 0, done.stderr
    assert "going on with 1 trial, which took" in done.stderr
    assert done.stdout.count("trial ") >= 2 and "0 trials left" in done.stdout
    trials = optuna.load_study(study_name="search", storage=f"sqlite:///{out / 'study.db'}").trials
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[2].params == trials[1].params
    assert {p.name for p in out.iterdir()} >= {"best.yaml", "search.png", "study.db"}
    assert not list((out / "trials").iterdir())

    best = yaml.safe_load((out / "best.yaml").read_text())
    assert best["training"]["epochs"] == 3 and best["model"]["hidden"] == []
    trained = python("vaecf.train", "--data", tiny_data, "--run-dir", run_dir, "--preset", out / "best.yaml",
                     "--gate", "ndcg@100:0")  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    reached = json.loads((run_dir / "result.json").read_text())["validation"]["metrics"]["ndcg@100"]["mean"]
    assert reached == pytest.approx(max(t.value for t in trials if t.value), abs=1e-4)
    assert json.loads((run_dir / "run.json").read_text())["config"]["preset"] == "quick"
    (out / "best.yaml").unlink()
    assert python("vaecf.evaluate", "--run-dir", run_dir).returncode == 0


@pytest.mark.ranks
def test_trials_on_ranks(tiny_data: Path, tmp_path: Path, python: Any) -> None:
    words = ["--data", tiny_data, "--preset", "quick", "--trials", "2", "--space", "epochs=1", "hidden=none"]
    done = python("vaecf.tune", "--out", tmp_path / "s", "--ranks", "2", *words)
    assert done.returncode == 0, done.stderr
    (first, second) = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 's' / 'study.db'}").trials
    settings = {"epochs": 1, "hidden": (), "l2": 1e-6}  # the preset's own values, moved into its space
    data = Dataset.open(tiny_data)
    alone = a_trial(VAECF, data, "ndcg@100", tmp_path / "t", lambda *_: False, seed=0, **settings)
    assert first.value == pytest.approx(alone.value, abs=1e-3)
    assert second.value is not None and second.params != first.params


def test_a_metric_that_is_not_known(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown metric 'fame@10'"):
        a_trial(VAECF, Dataset.open(tiny_data), "fame@10", tmp_path / "t", lambda *_: False)


def test_a_folder_without_a_data_set(tmp_path: Path, python: Any) -> None:
    done = python("vaecf.tune", "--data", tmp_path / "no", "--out", tmp_path / "s", "--trials", "1")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'no'} is no prepared data set (no manifest.json); make one with")


def test_a_folder_of_something_else(tiny_data: Path, tmp_path: Path, python: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = python("vaecf.tune", "--data", tiny_data, "--out", tmp_path, "--trials", "1")
    assert done.returncode == 2
    assert done.stderr == f"error: --out {tmp_path} exists and is no folder of a search; choose another\n"


def test_test_users_cannot_be_held_out_twice(tiny_data: Path) -> None:
    data = Dataset.open(tiny_data)
    assert without_test_users(data).held_out("test") is data.held_out("valid")
    with pytest.raises(UserError, match="is not split"):
        without_test_users(Dataset.empty(3, 4))
