"""NCF by its real commands on real ranks: the same run at any world size, resume, pre-training, target, export."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ncf_tf import train
from recsys_core.rankings import answers_agree
from tests.conftest import ROOT, _environment
from tests.end_to_end.runs import losses, metrics, result, variables

SMALL = (
    *("--preset", "quick", "--batch-size", "2000", "--learning-rate", "1e-2", "--steps-per-call", "7"),
    *("--evaluate-every", "1"),
)
HARD = (
    *("--dropout", "0.25", "--embedding-dropout", "0.1", "--embedding-l2", "1e-4", "--verify-negatives"),
    *("--average", "0.7"),
)
EASY_GATE = ("--gate", "hr@10>=0.01")


def words_for(data: Path, run: Path, *extra: str) -> tuple[str | Path, ...]:
    return ("ncf_tf.train", "--data", data, "--run-dir", run, *SMALL, *EASY_GATE, *extra)


@pytest.fixture(scope="module")
def alone(tiny_pairs: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, with everything that draws random numbers."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    done = python(*words_for(tiny_pairs, run, *HARD, "--epochs", "2"), "--baselines", "ease")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def alone_by_rows(tiny_pairs: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with tables updated by rows: another optimiser (lazy Adam), so other numbers."""
    run = tmp_path_factory.mktemp("runs") / "rows"
    done = python(*words_for(tiny_pairs, run, *HARD, "--epochs", "2", "--embedding-gradients", "rows"))
    assert done.returncode == 0, done.stderr
    return run


def test_a_run_says_which_protocol_each_number_is(alone: Path) -> None:
    names = {"hr@10/sampled", "ndcg@10/sampled", "recall@10/all", "recall@50/all", "ndcg@10/all"}
    found = result(alone)
    assert set(found["test"]["metrics"]) == names
    assert set(found["baselines"]["ease"]["validation"]["metrics"]) == names
    assert metrics(alone)["hr@10/sampled"] > metrics(alone)["recall@10/all"]
    assert found["samples_per_second"] > 0
    history = json.loads((sorted((alone / "checkpoints").glob("step-*"))[-1] / "state.json").read_text())
    assert set(history["progress"]["history"][0]["validation"]) == {"hr@10/sampled", "ndcg@10/sampled"}


def check_kept(run: Path, weight: float) -> None:
    """The output layer of the last two checkpoints, and what steps went on from, by the mean's definition."""
    before, last = (
        tf.train.load_checkpoint(str(step / "variables")) for step in sorted((run / "checkpoints").glob("step-*"))[-2:]
    )
    name, end = "model/output", "/.ATTRIBUTES/VARIABLE_VALUE"
    shapes = last.get_variable_to_shape_map()
    (raw,) = (n for n in shapes if n.startswith("averages/means/") and shapes[n] == shapes[name + end])
    mean, following = last.get_tensor(name + end), last.get_tensor(raw)
    assert np.abs(mean - following).max() > 1e-3
    expected = (weight * before.get_tensor(name + end) + following) / (weight + 1)
    assert mean == pytest.approx(expected, rel=1e-5)


def test_what_is_kept_is_the_mean_over_evaluations(alone: Path) -> None:
    check_kept(alone, 0.7)


@pytest.mark.slow
def test_a_final_fit_trains_on_validation_items_and_keeps_the_last(
    alone: Path, tiny_pairs: Path, python: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = python(*words_for(tiny_pairs, run, "--final-fit", "--epochs", "3", "--average", "1", "--average-from", "2"),
                  "--metrics", "hr@1", "--primary", "hr@1", "--gate", "hr@1>=0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "what is called validation below is the test" in done.stdout
    found = result(run)
    assert found["best_step"] == found["steps"] > result(alone)["steps"]  # an item more of each user
    assert found["validation"] == found["test"]
    check_kept(run, 1.0)  # of epochs 2 and 3
    refused = python(*words_for(tiny_pairs, run, "--choose-on-test"))
    assert "--choose-on-test goes with --final-fit" in refused.stderr


@pytest.mark.ranks
@pytest.mark.parametrize(("ranks", "gloo", "gradients"), [(2, False, "dense"), (4, False, "rows"), (2, True, "rows")])
def test_ranks_give_the_same_run(
    ranks: int,
    gloo: bool,
    gradients: str,
    tiny_pairs: Path,
    on_ranks: Any,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    reference = request.getfixturevalue("alone_by_rows" if gradients == "rows" else "alone")
    extra = (*HARD, "--epochs", "2", "--embedding-gradients", gradients)
    run = tmp_path / "ranks"
    done = on_ranks(ranks, *words_for(tiny_pairs, run, *extra), gloo=gloo)
    assert done.returncode == 0, done.stderr
    assert result(run)["steps"] >= 100
    found, expected = losses(run), losses(reference)
    assert found[:7] == pytest.approx(expected[:7], rel=1e-4)
    # Later on, sums in another order change which ReLU is off; at 1e-2 the differences grow, however ranks share pairs.
    assert found == pytest.approx(expected, rel=1e-3)
    assert metrics(run) == pytest.approx(metrics(reference), abs=5e-3)  # three of 600 users


@pytest.mark.slow
def test_resumed_equals_never_stopped(tiny_pairs: Path, python: Any, tmp_path: Path) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    extra = (*HARD, "--epochs", "4", "--learning-rate-schedule", "linear", "--embedding-gradients", "rows")
    assert python(*words_for(tiny_pairs, straight, *extra)).returncode == 0
    line = [sys.executable, "-m", *map(str, words_for(tiny_pairs, stopped, *extra))]
    first = subprocess.Popen(
        line, cwd=ROOT, env=_environment(None), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    log, deadline = stopped / "metrics.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= 10):
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    assert not (stopped / "result.json").exists()
    assert python(*words_for(tiny_pairs, stopped, *extra), "--resume").returncode == 0
    one, two = variables(straight), variables(stopped)
    assert one.keys() == two.keys()
    for name in one:
        assert two[name] == pytest.approx(one[name], abs=1e-6), name
    assert metrics(stopped) == pytest.approx(metrics(straight), abs=1e-6)


@pytest.mark.slow
def test_pretraining_is_one_command_and_resumes(tiny_pairs: Path, python: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    extra = ("--pretrain", "--epochs", "2", "--pretrain-epochs", "3", "--pretrain-learning-rate", "0.02")
    done = python(*words_for(tiny_pairs, run, *extra))
    assert done.returncode == 0, done.stderr
    assert "pre-training: gmf" in done.stdout
    assert "pre-training: mlp" in done.stdout
    assert result(run / "gmf")["best_epoch"] <= 3
    best = max(metrics(run / kind, "validation")["hr@10/sampled"] for kind in ("gmf", "mlp"))
    assert metrics(run, "validation")["hr@10/sampled"] > 0.9 * best
    start = losses(run)[0]
    assert start < losses(run / "gmf")[0]  # it did not start from nothing
    before = losses(run)
    shutil.rmtree(run / "checkpoints")
    (run / "result.json").unlink()
    again = python(*words_for(tiny_pairs, run, *extra), "--resume")  # as if stopped right after the towers
    assert again.returncode == 0, again.stderr
    assert "pre-training:" not in again.stdout
    assert losses(run) == pytest.approx(before, rel=1e-5)  # no step is logged twice


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_narrow_types_reach_what_fp32_reaches(
    precision: str, alone: Path, tiny_pairs: Path, python: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = python(*words_for(tiny_pairs, run, *HARD, "--epochs", "2", "--precision", precision))
    assert done.returncode == 0, done.stderr
    assert losses(run) == pytest.approx(losses(alone), rel=0.01)  # 0.003 are usual
    assert metrics(run)["hr@10/sampled"] == pytest.approx(metrics(alone)["hr@10/sampled"], abs=0.03)  # 600 users


def test_a_target_stops_the_run_and_is_timed(tiny_pairs: Path, python: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = python(*words_for(tiny_pairs, run, "--epochs", "9", "--target", "hr@10>=0.05"))
    assert done.returncode == 0, done.stderr
    target = result(run)["target"]
    assert target["reached"]
    assert target["epoch"] == 1
    assert 0 < target["trained_seconds"] <= target["seconds"]
    assert "target hr@10/sampled>=0.05 reached in epoch 1 after" in done.stdout
    assert result(run)["steps"] * 9 == int((run / "config.yaml").exists()) * 9 * result(run)["best_step"]


def test_a_target_out_of_reach_is_said(tiny_pairs: Path, python: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = python(*words_for(tiny_pairs, run, "--epochs", "1", "--target", "hr@10>=0.99"))
    assert done.returncode == 0
    assert "target hr@10/sampled>=0.99 was not reached" in done.stdout
    assert result(run)["target"] == {
        "condition": "hr@10/sampled>=0.99", "reached": False, "epoch": None, "trained_seconds": None, "seconds": None,
    }  # fmt: skip


def test_offline_evaluation_gives_the_runs_numbers(alone: Path, python: Any, tmp_path: Path) -> None:
    done = python("ncf_tf.evaluate", "--run-dir", alone, "--json", tmp_path / "e.json",
                  "--metrics", "hr@10", "hr@5", "ndcg@10/all", "coverage@5/all", "--baselines")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "e.json").read_text())["model"]["metrics"]
    for name in ("hr@10/sampled", "ndcg@10/all"):
        assert found[name]["mean"] == pytest.approx(metrics(alone)[name], abs=1e-9)
    assert found["hr@5/sampled"]["mean"] < found["hr@10/sampled"]["mean"]
    assert 0 < found["coverage@5/all"]["mean"] <= 1


def test_the_export_does_not_hold_the_training_matrix(alone: Path, tiny_pairs: Path) -> None:
    variables = tf.train.list_variables(str(alone / "export" / "saved_model" / "variables" / "variables"))
    interactions = len(np.load(tiny_pairs / "train.indices.npy"))
    assert not [name for name, shape in variables if "seen" in name or shape == [interactions]]
    assert not list((alone / "export").glob("users*")) + list((alone / "export").glob("histories*"))


def test_the_export_answers_its_golden_requests(alone: Path) -> None:
    golden = np.load(alone / "export" / "golden.npz")
    signatures = tf.saved_model.load(str(alone / "export" / "saved_model")).signatures
    for name, inputs in (("recommend", ["user_ids", "item_ids"]), ("rank", ["user_ids", "candidate_items"])):
        got = signatures[name](**{part: tf.constant(golden[f"{name}/{part}"]) for part in inputs})
        expected = {part: golden[f"{name}/{part}"] for part in ("items", "scores")}
        assert answers_agree(expected, {part: value.numpy() for part, value in got.items()})
    for seen, items in zip(golden["recommend/item_ids"], golden["recommend/items"], strict=True):
        assert not set(seen.tolist()) & set(items.tolist())
    for candidates, items in zip(golden["rank/candidate_items"], golden["rank/items"], strict=True):
        assert set(items.tolist()) == set(candidates.tolist())


@pytest.mark.slow
def test_nvidias_example_of_a_specification_trains(python: Any, tmp_path: Path) -> None:
    spec = Path(__file__).parent.parent / "data_prep" / "fixtures" / "csv_conversion" / "feature_spec.yaml"
    data = tmp_path / "data"
    assert python("data_prep", "transcode", "--raw", spec, "--out", data).returncode == 0
    done = python(*words_for(data, tmp_path / "run", "--epochs", "2", "--metrics", "hr@3", "--primary", "hr@3"),
                  "--gate", "hr@3>=0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / "run")["hr@3/sampled"] == 1.0  # lists of three


Refuse = Callable[..., str]


@pytest.fixture
def refuse(tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run training in this process, expect status 2 and one line, and no run folder."""

    def run(*words: str | Path, data: Path | None = None) -> str:
        target = tmp_path / "run"
        assert train.main(["--data", str(data or tiny_pairs), "--run-dir", str(target), *map(str, words)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        started = lines[:-1]  # an error that TensorFlow is needed for comes after the lines of the start
        assert started in ([], [*started[:2], "starting TensorFlow ..."])
        assert lines[-1].startswith("error: ")
        assert not target.exists()
        return lines[-1]

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "paper"], "unknown preset 'paper', known are: he2017, "),
        (["--kind", "mf"], "unknown --kind 'mf', known are: neumf, gmf, mlp"),
        (["--layers", "63", "8"], "--layers is (63, 8), expected two or more widths from 1, the first an even number"),
        (["--factors", "0"], "--factors is 0"),
        (["--negatives", "0"], "--negatives is 0, expected a whole number from 1"),
        (["--embedding-gradients", "sparse"], "unknown --embedding-gradients 'sparse', known are: auto, dense, rows"),
        (["--dropout", "1"], "--dropout is 1.0, expected a share"),
        (["--kind", "gmf", "--pretrain"], "--pretrain is for --kind neumf"),
        (
            ["--pretrain", "--pretrain-epochs", "2", "--average", "1", "--average-from", "5"],
            "--average-from is 5, expected at most 2, the epochs of pre-training",
        ),
        (["--ensemble-size", "2"], "--ensemble-size 2 is for --kind gmf --dot-product, whose members add up to one"),
        (["--members", "2"], "--members is now --ensemble-size"),
        (["--embedding-deviation", "0.1"], "--embedding-deviation is now --embedding-stddev"),
        (["--amp"], "--amp is now --precision auto"),
        (["--ensemble-size", "0"], "--ensemble-size is 0, expected a whole number from 1"),
        (["--alpha", "2"], "--alpha is 2.0"),
        (["--target", "hr@10"], "--target is 'hr@10', expected METRIC>=NUMBER"),
        (["--target", "hr@10>=2*popularity"], "'popularity' is not evaluated"),
        (["--metrics", "hr@10/some"], "unknown metric 'hr@10/some'"),
        (["--metrics", "coverage@10"], "coverage is of the whole catalogue, write coverage@10/all"),
    ],
)
def test_bad_arguments(words: list[str], message: str, refuse: Refuse) -> None:
    assert message in refuse(*words)


def test_a_data_set_that_holds_out_users_is_refused(tiny_data: Path, refuse: Refuse) -> None:
    for words in ((), ("--metrics", "hr@10/all", "--primary", "hr@10/all")):
        assert "holds out users, and NCF knows only users that it trained on" in refuse(*words, data=tiny_data)
    assert "hr@10/sampled needs lists of candidates" in refuse("--primary", "hr@10/sampled", data=tiny_data)


def broken(tiny_pairs: Path, folder: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of the data set with one array changed, and a manifest that says so."""
    import hashlib

    shutil.copytree(tiny_pairs, folder)
    path = folder / f"{name}.npy"
    np.save(path, change(np.load(path)))
    manifest = json.loads((folder / "manifest.json").read_text())
    content = path.read_bytes()
    manifest["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_user_without_a_training_row_is_refused(tiny_pairs: Path, tmp_path: Path, refuse: Refuse) -> None:
    def without_row_7(indptr: np.ndarray) -> np.ndarray:
        indptr = indptr.copy()
        indptr[7] = indptr[8]  # row 6 takes row 7's items
        return indptr

    data = broken(tiny_pairs, tmp_path / "data", "train.indptr", without_row_7)
    assert "the user in row 7 has a valid item but no training row" in refuse(data=data)


@pytest.mark.parametrize(
    ("name", "message"),
    [("test.candidates", "test names item 300, expected 0 to 299"), ("valid.train_rows", "valid names user 300")],
)
def test_ids_beyond_the_tables_are_refused(
    name: str, message: str, tiny_pairs: Path, tmp_path: Path, refuse: Refuse
) -> None:
    def beyond(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[-1] = 300 if name == "test.candidates" else 3000
        return array

    assert message in refuse(data=broken(tiny_pairs, tmp_path / "data", name, beyond))


def test_nothing_left_to_draw_is_refused(tmp_path: Path, refuse: Refuse) -> None:
    """A user who has every item in training, on a data set made by hand from files as published."""
    raw = tmp_path / "raw"
    raw.mkdir()
    pairs = [(u, i) for u in range(4) for i in range(9) if u == 0 or i % 2 == u % 2]
    (raw / "x.train.rating").write_text("".join(f"{u}\t{i}\t1\t{i}\n" for u, i in pairs))
    (raw / "x.test.rating").write_text("1\t2\t1\t9\n")
    (raw / "x.test.negative").write_text("(1,2)\t4\t6\n")
    from data_prep.__main__ import main

    assert main(["he2017", "--raw", str(raw), "--out", str(tmp_path / "data")]) == 2  # nor for the validation's lists


def test_a_batch_smaller_than_the_ranks_is_refused(
    refuse: Refuse, tiny_pairs: Path, on_ranks: Any, tmp_path: Path
) -> None:
    done = on_ranks(2, "ncf_tf.train", "--data", tiny_pairs, "--run-dir", tmp_path / "r", "--batch-size", "5")
    assert done.returncode != 0
    assert "1 positives with 4 negatives each, expected at least one positive for each of the 2 ranks" in done.stderr
