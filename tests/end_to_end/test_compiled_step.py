"""The compiled step trains what the sparse step trains: losses at 1, 2 and 4 ranks, narrow types, resumed runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recsys_core import cli
from recsys_core.dataset import Dataset
from tests.end_to_end.compiled_runs import CASES, ON_RANKS, Case, losses, opened
from tests.end_to_end.runs import losses as logged
from tests.end_to_end.runs import variables


@pytest.fixture(scope="module")
def data(tiny_data: Path, tiny_pairs: Path) -> dict[bool, Dataset]:
    return opened(tiny_data, tiny_pairs)


@pytest.fixture(scope="module")
def sparse(data: dict[bool, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The losses of a case by the sparse step of one process; cases that differ in memory only share them."""
    found: dict[str, npt.NDArray[np.float32]] = {}

    def of(case: Case) -> npt.NDArray[np.float32]:
        key = f"{case.preset} {case.settings}"
        if key not in found:
            found[key] = losses(case, data, tmp_path_factory.mktemp("sparse"), step="sparse")
        return found[key]

    return of


@pytest.mark.parametrize("name", CASES)
def test_losses_are_those_of_the_sparse_step(name: str, data: dict[bool, Dataset], sparse: Any, tmp_path: Path) -> None:
    expected = sparse(CASES[name])
    assert expected.shape == (50,) and len(set(expected.tolist())) == 50
    assert losses(CASES[name], data, tmp_path, step="compiled") == pytest.approx(expected, rel=1e-4)


@pytest.mark.ranks
@pytest.mark.parametrize(("ranks", "names"), ON_RANKS.items())
def test_ranks_give_the_losses_of_one_sparse_process(
    ranks: int, names: tuple[str, ...], sparse: Any, tiny_data: Path, tiny_pairs: Path, on_ranks: Any, tmp_path: Path
) -> None:
    """At four ranks one or more have no user, or no pair, in the last batch of an epoch."""
    done = on_ranks(ranks, "tests.end_to_end.compiled_runs", tmp_path, tiny_data, tiny_pairs, *names)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / f"ranks-{ranks}.npz")
    for name in names:
        assert found[name] == pytest.approx(sparse(CASES[name]), rel=1e-4), name


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 2e-3), ("fp16", 1e-3)])
@pytest.mark.parametrize("name", ["paper in blocks", "he2017"])
def test_narrow_types_stay_near_float32(
    name: str, precision: str, bound: float, data: dict[bool, Dataset], sparse: Any, tmp_path: Path
) -> None:
    """Each of fifty losses, as a share of the loss in float32."""
    found = losses(CASES[name], data, tmp_path, step="compiled", precision=precision)
    assert found == pytest.approx(sparse(CASES[name]), rel=bound)
    assert np.abs(found / sparse(CASES[name]) - 1).max() > 1e-6  # the products really are of the smaller type


FAMILIES = {
    "vaecf": ("--preset", "quick", "--latent", "8", "--batch-size", "53"),
    "ncf_tf": (
        "--preset",
        "quick",
        "--kind",
        "gmf",
        "--biases",
        "--batch-size",
        "2000",
        "--embedding-gradients",
        "rows",
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_goes_on_with_either_step(
    family: str, tiny_data: Path, tiny_pairs: Path, python: Any, tmp_path: Path
) -> None:
    """With the same step it equals the run that never stopped, to the bit on a CPU; with the other it stays near."""
    started = "compiled" if family == "vaecf" else "sparse"
    goes_on = {"compiled": "sparse", "sparse": "compiled"}
    data = tiny_data if family == "vaecf" else tiny_pairs
    common = ("--epochs", "3", "--evaluate-every", "1", "--device-memory", "0.0001", "--gate", "ndcg@10>=2")
    words = (*FAMILIES[family], *common, "--average", "0.5", "--learning-rate-schedule", "linear")
    straight, same, other = (tmp_path / name for name in ("straight", "same", "other"))
    done = python(f"{family}.train", "--data", data, "--run-dir", straight, *words, "--step", started)
    assert done.returncode == 3, done.stderr  # the gate is missed: nothing is exported
    for run, step in ((same, started), (other, goes_on[started])):
        shutil.copytree(straight, run)
        shutil.rmtree(sorted((run / "checkpoints").glob("step-*"))[-1])
        (run / "result.json").unlink()
        done = python(f"{family}.train", "--resume", run, "--step", step)
        assert done.returncode == 3, done.stderr
    expected, again, near = (variables(run) for run in (straight, same, other))
    assert {name: value.tobytes() for name, value in again.items()} == {n: v.tobytes() for n, v in expected.items()}
    assert near.keys() == expected.keys()
    if family == "vaecf":  # NCF's embeddings of rare items move by Adam's whole step for any gradient
        for name in expected:
            assert near[name] == pytest.approx(expected[name], abs=1e-4), name
    assert len(logged(other)) > len(logged(straight)) - 2
    assert logged(other)[-1] == pytest.approx(logged(straight)[-1], rel=1e-4)


@pytest.mark.parametrize("flag", [("--step", "compiled"), ("--xla",)])
def test_a_model_without_a_compiled_step_says_so_in_a_line(
    flag: tuple[str, ...], tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from examples import linear_autoencoder

    words = ["--data", str(tiny_data), "--run-dir", str(tmp_path / "run"), *flag]
    assert cli.train(linear_autoencoder.SPEC, words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line for line in lines if "sparse step only" in line] == lines[-1:]
    assert lines[-1].startswith("error: --") and lines[-1].endswith("; leave the flag out")
    assert not (tmp_path / "run").exists()  # the command can be typed again


def test_step_auto_trains_a_model_without_a_compiled_step(tiny_data: Path, tmp_path: Path) -> None:
    from examples import linear_autoencoder

    words = ["--data", str(tiny_data), "--run-dir", str(tmp_path / "run"), "--epochs", "2", "--step", "auto"]
    assert cli.train(linear_autoencoder.SPEC, [*words, "--gate", "ndcg@100>=2"]) == 3
    found = logged(tmp_path / "run")
    assert found[-1] < found[0]
