"""Runs and exports of format 1 and 2, stored as the program wrote them before: evaluated, resumed, served."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ncf_tf.evaluate
import ncf_tf.train
import vaecf.evaluate
import vaecf.train
from ncf_tf.config import RENAMED
from recsys_core import run_manifest
from recsys_core.compare import compare_runs
from recsys_core.errors import UserError
from recsys_core.rankings import answers_agree
from serving.engines.engine import reference_engine
from serving.export_folder import open_export
from tests.end_to_end.runs import metrics, variables

STORED = Path(__file__).parent.parent / "format_1"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy whose configurations name it."""
    folder = tmp_path / "stored"
    shutil.copytree(STORED, folder)
    for name, data in (("vae", "data"), ("ncf", "pairs")):
        path = folder / name / "config.yaml"
        text = path.read_text().replace(f"data: {data}\n", f"data: {folder / data}\n")
        path.write_text(text.replace(f"run_dir: {name}\n", f"run_dir: {folder / name}\n"))
    return folder


@pytest.mark.parametrize(
    ("main", "name", "expected"),
    [  # printed by the program that trained them
        (vaecf.evaluate.main, "vae", {"ndcg@100": 0.2056, "recall@20": 0.3333, "recall@50": 0.8889}),
        (ncf_tf.evaluate.main, "ncf", {"hr@10/sampled": 0.3750, "ndcg@10/sampled": 0.1722, "recall@10/all": 0.1750}),
    ],
)
def test_a_run_is_evaluated_as_it_was(main: Any, name: str, expected: dict[str, float], stored: Path) -> None:
    (stored / name / "result.json").write_text("{}")
    with pytest.raises(UserError, match=r"make it: python -m vaecf.evaluate --run-dir .* \(for NCF: python -m ncf_tf"):
        compare_runs([stored / name, f"{stored / name}:popularity"])
    values = str(stored / name / "per_user.parquet")
    assert main(["--run-dir", str(stored / name), "--json", str(stored / "e.json"), "--per-user", values]) == 0
    found = json.loads((stored / "e.json").read_text())["model"]["metrics"]
    for metric, value in expected.items():
        assert found[metric]["mean"] == pytest.approx(value, abs=5e-5)
    compared = compare_runs([stored / name, f"{stored / name}:popularity"], next(iter(expected)))
    assert compared.loc[str(stored / name), "mean"] == pytest.approx(next(iter(expected.values())), abs=5e-5)


def test_a_data_set_that_moved_is_known_by_its_fingerprint(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its items were compared with those of the folder that is gone."""
    (stored / "data").rename(stored / "moved")
    run = ["--run-dir", str(stored / "vae")]
    assert vaecf.evaluate.main(run) == 2
    told = f"error: the data set of {stored / 'vae'}, {stored / 'data'}, is not there any more; name the folder where "
    assert capsys.readouterr().err == told + "it is now, or another one with the same items, with --data\n"
    assert vaecf.train.main(["--resume", str(stored / "vae")]) == 2
    assert f"its data set {stored / 'data'} is not there; name where it is now with --data" in capsys.readouterr().err
    assert vaecf.evaluate.main([*run, "--data", str(stored / "pairs")]) == 2
    assert "that is not there any more, so their items cannot be compared" in capsys.readouterr().err
    found = ["--data", str(stored / "moved"), "--json", str(stored / "e.json")]
    assert vaecf.evaluate.main([*run, *found]) == 0
    assert json.loads((stored / "e.json").read_text())["model"]["metrics"]["ndcg@100"]["mean"] == pytest.approx(
        0.2056, abs=5e-5
    )


def test_settings_are_read_under_their_new_names(stored: Path) -> None:
    model = run_manifest.read(stored / "ncf", renamed=RENAMED).config["model"]
    assert (model["ensemble_size"], model["embedding_stddev"]) == (2, 0.1)
    assert not {"members", "embedding_deviation"} & set(model)


def test_a_run_goes_on_and_equals_one_that_never_stopped(stored: Path) -> None:
    assert vaecf.train.main(["--resume", str(stored / "vae")]) == 0
    words = ["--data", str(stored / "data"), "--run-dir", str(stored / "new"), "--preset", "quick", "--latent", "4"]
    words += ["--epochs", "4", "--batch-size", "500", "--evaluate-every", "2", "--gate", "ndcg@100>=0.0"]
    assert vaecf.train.main(words) == 0
    one, two = variables(stored / "vae"), variables(stored / "new")
    assert one.keys() == two.keys()
    for name in one:
        assert one[name] == pytest.approx(two[name], abs=1e-6), name
    assert metrics(stored / "vae") == pytest.approx(metrics(stored / "new"), abs=1e-9)


def test_a_finished_ncf_run_is_resumed(stored: Path) -> None:
    """Its identity holds the layers by value; there is nothing left to train."""
    before = metrics(stored / "ncf")
    assert ncf_tf.train.main(["--resume", str(stored / "ncf")]) in (0, 3)
    assert metrics(stored / "ncf") == pytest.approx(before, abs=1e-9)


def test_an_export_answers_its_golden_requests(stored: Path) -> None:
    export = open_export(stored / "vae" / "export")
    for signature in ("recommend", "serving", "serving_no_scatter"):
        requests, answers = export.golden(signature)
        assert answers_agree(answers, reference_engine(export, signature)(requests))


def test_a_newer_run_is_refused_in_one_line(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stored / "vae" / "run.json").write_text(json.dumps({"format_version": 3}))
    assert vaecf.train.main(["--resume", str(stored / "vae")]) == 2
    assert "has run format version 3, this program reads 1 and 2" in capsys.readouterr().err
    assert np.isfinite(json.loads((stored / "vae" / "checkpoints" / "best.json").read_text())["value"])
