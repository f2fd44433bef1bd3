"""The real commands on real Horovod ranks: the same run at any world size, resume, signals, failures, gate, export."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core import user_histories
from recsys_core.compare import compare_runs
from recsys_core.dataset import Dataset
from recsys_core.evaluation import user_values
from recsys_core.rankings import answers_agree
from tests.conftest import ROOT, _environment
from tests.end_to_end.runs import environment, losses, metrics, result, variables

SMALL = (
    "--preset",
    "quick",
    "--latent",
    "32",
    "--batch-size",
    "48",
    "--steps-per-call",
    "5",
    "--learning-rate",
    "1e-2",
)
EASY_GATE = ("--gate", "ndcg@100>=0.01")


@pytest.fixture(scope="module")
def alone(tiny_data: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, about 80 steps."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "8", *EASY_GATE)
    done = python(*words, "--baselines", "ease")
    assert done.returncode == 0, done.stderr
    return run


def test_a_run_leaves_everything_behind(alone: Path) -> None:
    files = {"config.yaml", "run.json", "state.json", "metrics.jsonl", "curves.png", "result.json", "per_user.parquet"}
    assert {p.name for p in alone.iterdir()} == files | {"checkpoints", "tensorboard", "export"}
    assert (alone / "curves.png").read_bytes().startswith(b"\x89PNG")
    found = result(alone)
    assert found["gate"]["passed"]
    assert set(found["baselines"]) == {"popularity", "ease"}
    assert found["test"]["metrics"]["ndcg@100"]["standard_error"] > 0
    assert metrics(alone)["ndcg@100"] > found["baselines"]["popularity"]["test"]["metrics"]["ndcg@100"]["mean"]
    assert environment(alone)["world_size"] == 1
    assert len(list((alone / "checkpoints").glob("step-*"))) <= 3


@pytest.mark.ranks
@pytest.mark.parametrize(("ranks", "gloo"), [(2, False), (4, False), (2, True)])
def test_ranks_give_the_same_run(
    ranks: int, gloo: bool, alone: Path, tiny_data: Path, on_ranks: Any, tmp_path: Path
) -> None:
    run = tmp_path / "ranks"
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "8", *EASY_GATE)
    done = on_ranks(ranks, *words, gloo=gloo)
    assert done.returncode == 0, done.stderr
    assert result(run)["steps"] >= 50
    assert losses(run) == pytest.approx(losses(alone), rel=1e-4)
    for split in ("validation", "test"):
        assert metrics(run, split) == pytest.approx(metrics(alone, split), abs=1e-3)
    assert environment(run)["controller"] == ("gloo" if gloo else "mpi")


def stopped_and_resumed(tiny_data: Path, run: Path, at_line: int, extra: tuple[str, ...] = ()) -> list[int]:
    """Start, send SIGTERM once some lines are logged, resume; returns both exit statuses."""
    line = [sys.executable, "-m", "vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, *EASY_GATE, *extra]
    first = subprocess.Popen(list(map(str, line)), cwd=ROOT, env=_environment(None), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    log = run / "metrics.jsonl"
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= at_line):
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    statuses = [first.wait(60)]
    resume = [*map(str, line[:3]), "--resume", str(run)]  # it needs no other flag
    again = subprocess.run(resume, cwd=ROOT, env=_environment(None), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    return [*statuses, again.returncode]


@pytest.mark.slow
def test_resumed_equals_never_stopped(tiny_data: Path, python: Any, tmp_path: Path) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    epochs = ("--epochs", "20", "--steps-per-call", "3", "--learning-rate-schedule", "cosine")
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", straight, *SMALL, *EASY_GATE, *epochs)
    assert python(*words).returncode == 0
    assert stopped_and_resumed(tiny_data, stopped, 15, epochs) == [0, 0]
    steps = [json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) > 15
    one, two = variables(straight), variables(stopped)
    assert one.keys() == two.keys()
    for name in one:
        assert two[name] == pytest.approx(one[name], abs=1e-6), name
    assert metrics(stopped) == pytest.approx(metrics(straight), abs=1e-6)
    history = [
        json.loads((p / "state.json").read_text())["progress"]["history"]
        for p in (sorted((run / "checkpoints").glob("step-*"))[-1] for run in (straight, stopped))
    ]
    assert [e["loss"] for e in history[0]] == pytest.approx([e["loss"] for e in history[1]], rel=1e-5)


@pytest.mark.ranks
def test_resume_on_another_number_of_ranks(
    alone: Path, tiny_data: Path, python: Any, on_ranks: Any, tmp_path: Path
) -> None:
    """Half of the run alone, the rest on two ranks, equals all of it alone."""
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    shutil.rmtree(newest)
    (run / "result.json").unlink()
    done = on_ranks(2, "vaecf.train", "--config", run / "config.yaml", "--run-dir", run, "--resume")
    assert done.returncode == 0, done.stderr
    assert metrics(run) == pytest.approx(metrics(alone), abs=1e-3)


def test_resume_with_another_model_or_data_is_refused(
    alone: Path, tiny_data: Path, python: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(alone, run)
    words = ["vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "8", *EASY_GATE, "--resume"]
    other_model = python(*[w if w != "32" else "24" for w in words])
    assert other_model.returncode == 2
    assert "--latent is 24, the run has 32" in other_model.stderr
    other_rate = python(*words, "--learning-rate", "0.5", "--seed", "3")
    assert other_rate.returncode == 2
    assert "--learning-rate is 0.5, the run has 0.01; --seed is 3, the run has 0" in other_rate.stderr
    other_data = tmp_path / "other"
    assert python("data_prep", "synthetic", "--like", "tiny", "--seed", "2", "--out", other_data).returncode == 0
    refused = python(*[w if w != tiny_data else other_data for w in words])
    assert refused.returncode == 2
    assert "was trained on another data set" in refused.stderr


def test_config_yaml_runs_again(alone: Path, python: Any, tmp_path: Path) -> None:
    again = tmp_path / "again"
    done = python("vaecf.train", "--config", alone / "config.yaml", "--run-dir", again, "--baselines")
    assert done.returncode == 0, done.stderr
    assert losses(again) == pytest.approx(losses(alone), rel=1e-5)


def test_a_missed_gate_is_status_3_without_export(tiny_data: Path, python: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "2")
    done = python(*words, "--gate", "ndcg@100>=0.99", "recall@20>=0.001")
    assert done.returncode == 3
    assert "gate MISSED: ndcg@100>=0.99" in done.stdout
    assert "gate passed: recall@20>=0.001" in done.stdout
    assert not (run / "export").exists()
    assert [c["passed"] for c in result(run)["gate"]["conditions"]] == [False, True]


def test_offline_evaluation_gives_the_runs_numbers(alone: Path, python: Any, tmp_path: Path) -> None:
    done = python(
        "vaecf.evaluate",
        "--run-dir",
        alone,
        "--json",
        tmp_path / "e.json",
        "--metrics",
        "ndcg@100",
        "map@10",
        "coverage@5",
        "--per-user",
        tmp_path / "e.parquet",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "e.json").read_text())["model"]["metrics"]
    assert found["ndcg@100"]["mean"] == pytest.approx(metrics(alone)["ndcg@100"], abs=1e-9)
    assert "coverage@5" in done.stdout
    whole, again = (user_values.read(path) for path in (alone / "per_user.parquet", tmp_path / "e.parquet"))
    assert again.metrics == ["ndcg@100", "map@10"] and again.data_set == whole.data_set
    of_run = whole.table[(whole.table["split"] == "test")].reset_index(drop=True)
    assert again.table[["split", "user_id", "model"]].equals(of_run[["split", "user_id", "model"]])
    assert again.table["ndcg@100"].to_numpy() == pytest.approx(of_run["ndcg@100"].to_numpy(), abs=1e-9, nan_ok=True)


def test_the_values_of_users_are_those_behind_the_result(alone: Path, python: Any) -> None:
    found, table = result(alone), user_values.read(alone / "per_user.parquet").table
    assert table["user_id"].dtype == np.int64 and set(table["model"]) == {"model", "popularity", "ease"}
    for split, name in (("valid", "validation"), ("test", "test")):
        means = table[table["split"] == split].groupby("model")[["ndcg@100", "recall@50"]].mean()
        stored = {"model": found[name], **{b: found["baselines"][b][name] for b in ("popularity", "ease")}}
        for model, evaluation in stored.items():
            for metric in ("ndcg@100", "recall@50"):
                assert means.loc[model, metric] == pytest.approx(evaluation["metrics"][metric]["mean"])
    compared = compare_runs([alone, f"{alone}:ease"])
    difference = found["baselines"]["ease"]["test"]["metrics"]["ndcg@100"]["mean"] - metrics(alone)["ndcg@100"]
    assert compared.loc[f"{alone}:ease", "difference"] == pytest.approx(difference)


def test_the_export_holds_no_user(alone: Path, tiny_data: Path) -> None:
    export = alone / "export"
    cards = {"MODEL_CARD.md", "MODEL_CARD.html"}
    names = {"export.json", "golden.npz", "items.parquet", "item_vectors.npy", "saved_model", *cards}
    assert {p.name for p in export.iterdir()} == names
    about = json.loads((export / "export.json").read_text())
    data = Dataset.open(tiny_data)
    assert about["users"] == {"training_users": data.n_users, "digest": data.user_digest, "exported": False}
    assert about["ids"] == {"user": "int64", "item": "int64", "below_zero": False}
    everything = user_histories.histories(data)
    real = {tuple(sorted(everything[row].indices.tolist())) for row in range(everything.shape[0])}
    asked = np.load(export / "golden.npz")["recommend/item_ids"]
    made_up = [tuple(sorted(row[row < about["n_items"]].tolist())) for row in asked]
    assert not [history for history in made_up if len(history) > 2 and history in real]


def test_the_export_answers_its_golden_requests(alone: Path) -> None:
    export = alone / "export"
    golden = np.load(export / "golden.npz")
    about = json.loads((export / "export.json").read_text())
    recommend = tf.saved_model.load(str(export / "saved_model")).signatures["recommend"]
    requests, items, scores = (golden[f"recommend/{name}"] for name in ("item_ids", "items", "scores"))
    got = {n: t.numpy() for n, t in recommend(item_ids=tf.constant(requests)).items()}
    assert answers_agree({"items": items, "scores": scores}, got)
    assert items.shape == (64, about["top_k"])
    assert about["signatures"]["recommend"]["inputs"]["item_ids"] == {"dtype": "int32", "shape": [None, None]}
    for request, answer in zip(requests, items, strict=True):
        seen = set(request[request < about["n_items"]].tolist())
        assert seen
        assert not seen & set(answer.tolist())


def test_fp16_overflows_are_skipped_and_logged(alone: Path, tiny_data: Path, python: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "8", *EASY_GATE)
    code = (
        "from recsys_core.training.precision import LossScale; LossScale.START = 2.0**60; "
        "import sys; from vaecf.train import main; sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", code, *map(str, words[1:]), "--precision", "fp16"]
    done = subprocess.run(line, cwd=ROOT, env=_environment(None), capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["kind"] == "train"]
    assert trained[0]["skipped_steps"] > 0
    assert trained[-1]["loss_scale"] < 2.0**60


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_narrow_precisions_reach_the_same_quality(
    precision: str, alone: Path, tiny_data: Path, python: Any, tmp_path: Path
) -> None:
    run = tmp_path / precision
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "8", *EASY_GATE)
    done = python(*words, "--precision", precision)
    assert done.returncode == 0, done.stderr
    assert metrics(run)["ndcg@100"] == pytest.approx(metrics(alone)["ndcg@100"], abs=0.02)


def test_xla_is_the_earlier_name_of_step_compiled(alone: Path, tiny_data: Path, python: Any, tmp_path: Path) -> None:
    run = tmp_path / "xla"
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", run, *SMALL, "--epochs", "8", *EASY_GATE)
    done = python(*words, "--xla")
    assert done.returncode == 0, done.stderr
    assert losses(run) == pytest.approx(losses(alone), rel=1e-4)


def test_divergence_stops_with_step_and_quantity(tiny_data: Path, python: Any, tmp_path: Path) -> None:
    words = ("vaecf.train", "--data", tiny_data, "--run-dir", tmp_path / "run", *SMALL, "--epochs", "8")
    done = python(*words, "--learning-rate", "1e30", "--activation", "relu")
    assert done.returncode == 4
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: step ")
    assert "is nan" in line or "is inf" in line


@pytest.mark.ranks
@pytest.mark.parametrize("gloo", [False, True], ids=["mpi", "gloo"])
def test_a_killed_rank_ends_the_job(gloo: bool, tiny_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = ["horovodrun", *(["--gloo"] if gloo else []), "-np", "2", sys.executable, "-m", "vaecf.train"]
    line += ["--data", str(tiny_data), "--run-dir", str(run), *SMALL, "--epochs", "5000"]
    job = subprocess.Popen(
        line,
        cwd=ROOT,
        env=_environment(None),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (run / "metrics.jsonl").exists():
            time.sleep(0.2)
        mine = str(run).encode()
        ranks = [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_rank(p, mine)]
        assert len(ranks) == 2
        os.kill(max(ranks), signal.SIGKILL)
        assert job.wait(60) != 0
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)


@pytest.mark.ranks
def test_ranks_save_when_mpirun_is_told_to(tiny_data: Path, tmp_path: Path) -> None:
    """SIGUSR1 to mpirun reaches every rank; they agree on a step, save it, and the job ends well."""
    run = tmp_path / "run"
    line = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", sys.executable, "-m", "vaecf.train"]
    line += ["--data", str(tiny_data), "--run-dir", str(run), *SMALL, "--epochs", "5000"]
    job = subprocess.Popen(line, cwd=ROOT, env=_environment(None), stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (run / "metrics.jsonl").exists():
        time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    told, _ = job.communicate(timeout=90)
    assert job.returncode == 0
    assert "go on with --resume" in told
    saved = sorted((run / "checkpoints").glob("step-*"))[-1]
    logged = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert json.loads((saved / "state.json").read_text())["progress"]["step"] == logged[-1]


def is_rank(pid: int, run_dir: bytes) -> bool:
    """Whether a process is a training rank of that run, not one of the launchers around it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return run_dir in words and words[0].endswith(b"python") and b"vaecf.train" in words[:4]


def test_the_doctor_proves_reduction(command: Any) -> None:
    done = command([sys.executable, "-m", "horovod_launch", "doctor"])
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("gradients are reduced") == 2
    assert "Horovod       MPI yes, Gloo yes" in done.stdout


def test_the_launcher_passes_the_exit_status_on(tiny_data: Path, command: Any, tmp_path: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "horovod_launch",
        "run",
        "-np",
        "2",
        "vaecf.train",
        "--",
        "--data",
        tiny_data,
        "--run-dir",
    ]
    done = command([*line, tmp_path / "run", *SMALL, "--epochs", "1", "--gate", "ndcg@100>=0.99"])
    assert done.returncode == 3
