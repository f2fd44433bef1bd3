"""Faults that were reported: each of these failed before it was mended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import yaml

import ncf_tf.evaluate
import ncf_tf.train
import vaecf.train
from examples.linear_autoencoder import LinearAutoencoder
from recsys_core import Dataset, Trainer
from recsys_core.signatures import Exported
from tests.conftest import ROOT, _environment
from tests.end_to_end.runs import metrics, result

SMALL = ("--preset", "quick", "--latent", "8", "--epochs", "2", "--gate", "ndcg@100>=0")
NCF = ("--preset", "quick", "--batch-size", "4000", "--epochs", "1", "--gate", "hr@10>=0")


@pytest.fixture(scope="module")
def run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "run"
    assert vaecf.train.main(["--data", str(tiny_data), "--run-dir", str(folder), *SMALL]) == 0
    return folder


def config_of(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_resume_needs_no_other_flag_and_compares_those_that_are_given(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also after a kill before the first checkpoint: config.yaml then named other settings than the model had."""
    killed = tmp_path / "run"
    shutil.copytree(run, killed)
    shutil.rmtree(killed / "checkpoints")
    (killed / "result.json").unlink()
    for flags, message in (
        (["--learning-rate", "0.5"], "--learning-rate is 0.5, the run has 0.002"),
        (["--latent", "9", "--seed", "1"], "--seed is 1, the run has 0; --latent is 9, the run has 8"),
        (["--preset", "paper"], "--preset is paper, the run in"),
        (["--run-dir", str(run)], f"--resume is {killed} and --run-dir {run}; leave --run-dir out"),
    ):
        assert vaecf.train.main(["--resume", str(killed), *flags]) == 2
        assert message in capsys.readouterr().err
    assert vaecf.train.main(["--resume", str(killed), "--top-k", "7"]) == 0  # changes nothing that is trained
    assert metrics(killed) == metrics(run)
    assert (config_of(run)["top_k"], config_of(killed)["top_k"]) == (100, 7)
    assert json.loads((killed / "export" / "export.json").read_text())["top_k"] == 7
    assert vaecf.train.main(["--resume"]) == 2
    assert "--resume needs the folder of a run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_finished_run_is_converted_without_being_judged_or_exported_again(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = {name: (copy / name).stat().st_mtime_ns for name in ("result.json", "export/export.json", "metrics.jsonl")}
    words = ["--resume", str(copy), "--convert", "savedmodel"]
    assert vaecf.train.main(words) == 0
    shown = capfd.readouterr()
    assert "and passed its gate" in shown.out and "converting to savedmodel" in shown.out
    assert "evaluating baselines" not in shown.err
    assert (copy / "converted" / "savedmodel-fp32" / "verify.json").is_file()
    assert {name: (copy / name).stat().st_mtime_ns for name in before} == before
    assert config_of(copy)["convert"] == "savedmodel"
    assert vaecf.train.main(["--resume", str(copy)]) == 0
    shown = capfd.readouterr()
    assert "converting" not in shown.out and "and passed its gate" in shown.out
    assert "starting TensorFlow" not in shown.err  # its start took longer than the answer


def test_a_run_of_the_other_family_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ncf_tf.train.main(["--resume", str(run)]) == 2
    assert (
        f"--resume {run} holds a run of vaecf; use python -m vaecf.train or vaecf.evaluate" in capsys.readouterr().err
    )


def test_the_view_of_a_final_fit_is_evaluated(tiny_pairs: Path, tmp_path: Path) -> None:
    """Its validation items are training items: offline evaluation scored them as if they were new."""
    folder, found = tmp_path / "run", tmp_path / "e.json"
    assert ncf_tf.train.main(["--data", str(tiny_pairs), "--run-dir", str(folder), *NCF, "--final-fit"]) == 0
    for split in ("valid", "test"):
        assert ncf_tf.evaluate.main(["--run-dir", str(folder), "--split", split, "--json", str(found)]) == 0
        offline = json.loads(found.read_text())
        values = {name: entry["mean"] for name, entry in offline["model"]["metrics"].items()}
        assert values == pytest.approx(metrics(folder), abs=1e-9)
        popularity = offline["baselines"]["popularity"]["metrics"]["hr@10/sampled"]["mean"]
        own = result(folder)["baselines"]["popularity"]["test"]["metrics"]["hr@10/sampled"]["mean"]
        assert popularity == pytest.approx(own)


def test_another_data_set_with_other_users_is_refused(
    tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model knows its users by row; only the items were compared."""
    import pandas as pd

    folder, other = tmp_path / "run", tmp_path / "other"
    assert ncf_tf.train.main(["--data", str(tiny_pairs), "--run-dir", str(folder), *NCF]) == 0
    shutil.copytree(tiny_pairs, other)
    users = pd.read_parquet(other / "users.parquet")
    users.assign(user_id=users["user_id"].to_numpy()[::-1]).to_parquet(other / "users.parquet", index=False)
    _rewrite_manifest(other, "users.parquet")
    assert ncf_tf.evaluate.main(["--run-dir", str(folder), "--data", str(other)]) == 2
    assert "has other users than" in capsys.readouterr().err


def _rewrite_manifest(folder: Path, name: str) -> None:
    import hashlib

    manifest, content = json.loads((folder / "manifest.json").read_text()), (folder / name).read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_tower_of_another_pre_training_is_refused(
    tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    words = ["--data", str(tiny_pairs), "--run-dir", str(folder), *NCF, "--pretrain", "--pretrain-epochs", "1"]
    assert ncf_tf.train.main(words) == 0
    shutil.rmtree(folder / "checkpoints")
    manifest = json.loads((folder / "run.json").read_text())
    manifest["config"]["pretraining"]["pretrain_epochs"] = 2
    (folder / "run.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert ncf_tf.train.main(["--resume", str(folder)]) == 2
    assert f"epochs is 2, the run in {folder / 'gmf'} has 1" in capsys.readouterr().err


class Signalled(LinearAutoencoder):
    """Sends this process SIGUSR1 before the first step, or during the export."""

    moment = "start"
    number = signal.SIGUSR1

    def initialise(self, trainer: Trainer) -> bool:
        if self.moment == "start":
            os.kill(os.getpid(), self.number)
        return True

    def exported(self, data: Dataset, top_k: int) -> Exported:
        if self.moment == "export":
            os.kill(os.getpid(), signal.SIGUSR1)
        return super().exported(data, top_k)


def test_a_signal_outside_the_loop_does_not_kill_the_run(tiny_data: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "gate": ("ndcg@100>=0",)}
    data = Dataset.open(tiny_data)
    stopped = Trainer(tmp_path / "a", **settings).fit(Signalled(data), data)
    assert not stopped.complete
    assert (tmp_path / "a" / "checkpoints" / "step-00000000" / "state.json").is_file()
    model = Signalled(data)
    model.moment = "export"
    assert Trainer(tmp_path / "a", **settings).fit(model, data, resume=True).passed
    assert (tmp_path / "a" / "export" / "export.json").is_file()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_an_interrupt_from_python_saves_and_is_raised(tiny_data: Path, tmp_path: Path) -> None:
    data = Dataset.open(tiny_data)
    model = Signalled(data)
    model.number = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        Trainer(tmp_path / "a", epochs=1, gate=("ndcg@100>=0",)).fit(model, data)
    assert (tmp_path / "a" / "checkpoints" / "step-00000000" / "state.json").is_file()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGUSR1, 0)])
def test_a_signal_in_training_saves_and_names_the_command(
    number: signal.Signals, status: int, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After Ctrl-C there was no checkpoint; SIGUSR1 was called SIGTERM."""
    folder = tmp_path / "run"

    def signal_in_training() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (folder / "metrics.jsonl").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=signal_in_training, daemon=True).start()
    words = ["--data", str(tiny_data), "--run-dir", str(folder), *SMALL, "--epochs", "5000", "--evaluate-every", "4000"]
    assert vaecf.train.main(words) == status
    saved = sorted((folder / "checkpoints").glob("step-*"))[-1]
    step = json.loads((saved / "state.json").read_text())["progress"]["step"]
    assert f"stopped by {number.name} after step {step}; go on with --resume {folder}" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_training(number: signal.Signals, status: int, tiny_data: Path, tmp_path: Path) -> None:
    """SIGTERM ended the start without a word."""
    line = [sys.executable, "-m", "vaecf.train", "--data", str(tiny_data), "--run-dir", str(tmp_path / "run"), *SMALL]
    process = subprocess.Popen(
        line, cwd=ROOT, env=_environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "starting TensorFlow" not in process.stderr.readline():
        pass
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert "Traceback" not in err
    if number == signal.SIGTERM:
        assert "stopped by SIGTERM before the training started: nothing to save" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.ranks
def test_the_configuration_is_rank_0s(tiny_data: Path, tmp_path: Path) -> None:
    """A --config that only rank 0's host has: the other rank ended without a word, or trained by another one."""
    (tmp_path / "own.yaml").write_text("training: {epochs: 1, batch_size: 100}\nevaluation: {gate: ['ndcg@100>=0']}\n")
    words = ["--data", str(tiny_data), "--run-dir", str(tmp_path / "run"), "--preset", "quick", "--latent", "8"]
    first, second = (
        ["-np", "1", sys.executable, "-m", "vaecf.train", *words, "--config", str(tmp_path / name)]
        for name in ("own.yaml", "missing.yaml")
    )
    line = ["mpirun", "--allow-run-as-root", "--oversubscribe", *first, ":", *second]
    done = subprocess.run(line, cwd=ROOT, env=_environment(None), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert result(tmp_path / "run")["world_size"] == 2


@pytest.mark.ranks
def test_an_error_of_another_rank_is_said(tmp_path: Path) -> None:
    """A rank that fails alone."""
    code = (
        "import sys; from recsys_core.world import session; from recsys_core.errors import UserError\n"
        "with session() as world:\n"
        "    if world.rank == 1: raise UserError('the file on this host is damaged')\n"
        "    world.barrier()\n"
    )
    line = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, env=_environment(None), capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert f"error: rank 1 on {socket.gethostname()}: the file on this host is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_evaluation_without_a_best_checkpoint_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It took the last checkpoint without a word."""
    import vaecf.evaluate

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "checkpoints" / "best.json").unlink()
    assert vaecf.evaluate.main(["--run-dir", str(copy)]) == 2
    assert "has no best checkpoint: the run was stopped before its first evaluation" in capsys.readouterr().err


@pytest.mark.parametrize(("epochs", "message"), [("40", "at the smallest loss scale is inf"), ("5", "all 5 steps")])
def test_fp16_that_skips_every_step_is_an_error(
    epochs: str, message: str, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A finite loss whose gradient overflows at every scale: the run ended as "gate missed" without having learnt."""
    from vaecf import losses

    monkeypatch.setattr(losses, "_kernel_gradient", lambda hidden, gradient, narrow: tf.matmul(
        tf.cast(hidden, tf.float32), gradient, transpose_a=True) + float("inf"))  # fmt: skip
    words = ["--data", str(tiny_data), "--run-dir", str(tmp_path / "run"), *SMALL, "--epochs", epochs]
    words += ["--batch-size", "500"]  # one step an epoch
    assert vaecf.train.main([*words, "--precision", "fp16", "--steps-per-call", "1"]) == 4
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "result.json").exists()
