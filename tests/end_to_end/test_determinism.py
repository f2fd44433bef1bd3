"""`--deterministic`: trainings in processes of their own end with the same bits, on CPUs those without the flag too.

`make test-gpu` runs this on the card.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from recsys_core import devices, numerics
from tests.end_to_end.runs import metrics, variables

BOTH = """
import sys
from ncf_tf.train import main as ncf
from vaecf.train import main as vae
from recsys_core import numerics

data, pairs, folder, *flags = sys.argv[1:]
missed = ["--epochs", "2", "--gate", "ndcg@10>=2"]  # nothing is exported, which takes longer than these trainings
sizes = ["--preset", "quick", "--latent", "16", "--batch-size", "48"]
assert vae(["--data", data, "--run-dir", folder + "/vae", *sizes, *missed, *flags]) == 3
sizes = ["--preset", "quick", "--factors", "8", "--batch-size", "2000", "--embedding-gradients", "rows"]
assert ncf(["--data", pairs, "--run-dir", folder + "/ncf", *sizes, *missed, *flags]) == 3
assert numerics.are_operators_deterministic() == bool(flags)
"""
RUNS = ("vae", "ncf")


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tiny_pairs: Path, command: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of runs of every family: two with the flag, then one without it, each in a process of its own."""
    folders = []
    for flags in (["--deterministic"], ["--deterministic"], []):
        folders.append(tmp_path_factory.mktemp("runs"))
        done = command([sys.executable, "-c", BOTH, tiny_data, tiny_pairs, folders[-1], *flags])
        assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.parametrize("run", RUNS)
def test_two_trainings_end_with_the_same_bits(run: str, trained: list[Path]) -> None:
    alike = trained[:2] if devices.has_gpu() else trained
    first, *others = (variables(folder / run) for folder in alike)
    assert len(first) > 10  # parameters and moments
    for other in others:
        assert {name: value.tobytes() for name, value in other.items()} == {n: v.tobytes() for n, v in first.items()}
    for folder in alike[1:]:
        assert metrics(folder / run) == metrics(trained[0] / run)


def test_offline_evaluation_is_set_as_the_run_was(
    trained: list[Path], python: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(numerics, "use_deterministic_operators", lambda: calls.append("set"))
    for folder, expected in ((trained[2], []), (trained[0], ["set"])):
        done = python("vaecf.evaluate", "--run-dir", folder / "vae", "--json", tmp_path / "found.json")
        assert done.returncode == 0, done.stderr
        assert calls == expected
