"""Both models, by their real commands, on data that hold out several items of training users and have no candidates.

The users of VAE-CF's data set are e-mail addresses and its items text; those of NCF's are whole numbers below 0 and
beyond 2^53, -1 among them.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf_tf import NeuMf
from recsys_core import Dataset, Trainer
from recsys_core.training.callbacks import Callback
from recsys_core.training.state import TrainState
from serving.__main__ import main as serving
from serving.convert.verify import verify
from serving.engines.engine import reference_engine
from serving.export_folder import SERVING, open_export
from serving.histories.dataset import DatasetStore
from serving.targets import Artifact, Target
from tests.end_to_end.runs import losses, metrics, result
from tests.item_splits import with_ids

QUICK = ("--preset", "quick", "--seed", "3")
VAE = (*QUICK, "--epochs", "2", "--metrics", "uncapped-recall@20", "ndcg@20", "--primary", "uncapped-recall@20")
NCF = (*QUICK, "--epochs", "2", "--batch-size", "8000", "--steps-per-call", "5")


def email(user: int) -> str:
    return f"user.{user}@example.org"


def sku(item: int) -> str:
    return f"SKU {item:03d}, blue"


def below(user: int) -> int:
    return -1 - user * (2**53 + 1)


def beyond(item: int) -> int:
    return 2**62 + item


@pytest.fixture(scope="module")
def texts(tiny_items: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_ids(tiny_items, tmp_path_factory.mktemp("ids") / "texts", user=email, item=sku, title="Film")


@pytest.fixture(scope="module")
def numbers(tiny_items: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_ids(tiny_items, tmp_path_factory.mktemp("ids") / "numbers", user=below, item=beyond)


@pytest.fixture(scope="module")
def vae(texts: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "vae"
    done = python("vaecf.train", "--data", texts, "--run-dir", run, *VAE, "--gate", "uncapped-recall@20:0")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def ncf(numbers: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with the default metrics, and what it printed."""
    run = tmp_path_factory.mktemp("runs") / "ncf"
    done = python("ncf_tf.train", "--data", numbers, "--run-dir", run, *NCF, "--gate", "hr@10:0")
    assert done.returncode == 0, done.stderr
    return run, done.stdout + done.stderr


def test_ncf_ranks_the_whole_catalogue_by_default(ncf: tuple[Path, str], numbers: Path) -> None:
    run, printed = ncf
    note = f"note: {numbers} has no lists of candidates: hr@10 is hr@10/all, ndcg@10 is ndcg@10/all, over the whole"
    assert printed.count(note) == 1
    assert set(metrics(run)) == {"hr@10/all", "ndcg@10/all", "recall@10/all", "recall@50/all"}
    assert result(run)["gate"]["conditions"][0]["condition"] == "hr@10/all>=0"


@pytest.mark.parametrize("words", [("--metrics", "hr@10/sampled"), ("--gate", "ndcg@5/sampled:0.1")])
def test_sampled_metrics_that_are_written_are_refused(
    words: tuple[str, str], numbers: Path, python: Any, tmp_path: Path
) -> None:
    done = python("ncf_tf.train", "--data", numbers, "--run-dir", tmp_path / "run", *NCF, *words)
    assert done.returncode == 2
    assert "/sampled needs lists of candidates" in done.stderr and done.stderr.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_evaluate_gives_the_figures_of_the_run(vae: Path, ncf: tuple[Path, str], python: Any, tmp_path: Path) -> None:
    for module, run, note in (("vaecf", vae, 0), ("ncf_tf", ncf[0], 1)):
        done = python(f"{module}.evaluate", "--run-dir", run, "--json", tmp_path / f"{module}.json")
        assert done.returncode == 0, done.stderr
        found = json.loads((tmp_path / f"{module}.json").read_text())["model"]["metrics"]
        assert {name: value["mean"] for name, value in found.items()} == metrics(run)
        assert done.stderr.count("has no lists of candidates") == note


@pytest.mark.ranks
def test_two_ranks_give_the_same_run(
    vae: Path, ncf: tuple[Path, str], texts: Path, numbers: Path, on_ranks: Any, tmp_path: Path
) -> None:
    for module, data, words, alone in (("vaecf", texts, VAE, vae), ("ncf_tf", numbers, NCF, ncf[0])):
        run, gate = tmp_path / module, "uncapped-recall@20:9" if module == "vaecf" else "hr@10:9"  # nothing is exported
        done = on_ranks(2, f"{module}.train", "--data", data, "--run-dir", run, *words, "--gate", gate)
        assert done.returncode == 3, done.stderr
        assert losses(run) == pytest.approx(losses(alone), rel=1e-4)
        assert metrics(run) == pytest.approx(metrics(alone), abs=2e-3)


def test_the_final_fit_trains_on_validation_items(
    ncf: tuple[Path, str], numbers: Path, python: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = (*NCF, "--final-fit", "--gate", "hr@10:0")
    done = python("ncf_tf.train", "--data", numbers, "--run-dir", run, *words)
    assert done.returncode == 0, done.stderr
    found, data = result(run), Dataset.open(numbers)
    assert found["validation"] == found["test"]
    assert found["test"]["users"] == result(ncf[0])["test"]["users"]
    served = open_export(run / "export").held_out_users("test").fold_in
    expected = np.asarray(data.held_out("test").fold_in.indptr)[: len(served) + 1]
    assert served.indptr.tolist() == expected.tolist()  # what a test user has includes the validation items


class Stop(Callback):
    """Asks to stop after some steps."""

    def __init__(self, after: int) -> None:
        self._after = after

    def on_steps(self, state: TrainState, means: Any) -> None:
        if state.step >= self._after:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_resumed_run_equals_one_that_never_stopped(numbers: Path, tmp_path: Path) -> None:
    data = Dataset.open(numbers)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8000, "steps_per_call": 5, "gate": ("hr@10:9",)}

    def fit(run: str, resume: bool = False, **more: Any) -> Any:
        model = NeuMf(data, preset="quick", kind="gmf", seed=3)
        return Trainer(tmp_path / run, **settings, **more).fit(model, data, resume=resume)

    whole = fit("whole")
    assert not fit("stopped", callbacks=[Stop(after=10)]).complete
    resumed = fit("stopped", resume=True)
    assert resumed.content["test"] == whole.content["test"]
    assert resumed.content["steps"] == whole.content["steps"] > 10
    assert "hr@10/all" in resumed.content["test"]["metrics"]


@pytest.mark.parametrize("family", ["vae", "ncf"])
def test_exports_verify_on_test_users_with_several_items(family: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(family)
    export = open_export((made if family == "vae" else made[0]) / "export")
    engine = reference_engine(export, SERVING)
    artifact = Artifact(folder=export.folder, target=Target(format="savedmodel", precision="fp32"))
    found = verify(export, artifact, engine, users=500)
    assert found["passed"], found["why"]
    run = export.folder.parent
    assert found["test"]["rows"] == result(run)["test"]["users"]  # all of them have something to find
    held_out = export.held_out_users("calibration")
    assert set(held_out.requests(np.arange(2), export.n_items)) == set(export.inputs(SERVING))
    assert max(export.held_out_users("test").fold_out.lengths) == 4  # type: ignore[union-attr]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert serving(["recommend", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_text_ids_come_back_as_they_came(vae: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export, data = open_export(vae / "export"), Dataset.open(texts)
    store = DatasetStore(export.data_set)
    assert sorted(store.user_ids) == sorted(data.users["user_id"])
    user = str(store.user_ids[7])
    of_user = said(capsys, "--export", str(vae), "--user", user, "-k", "50")
    assert of_user["source"] == "model" and len(of_user["items"]) == 50
    known = set(map(str, store.histories([user])[0] or ()))
    assert not known & {item["id"] for item in of_user["items"]}
    assert all(item["title"] == f"Film {item['id']}" for item in of_user["items"])
    assert {item["id"] for item in of_user["items"]} <= set(data.items["item_id"])
    of_items = said(capsys, "--export", str(vae), "--items", ",".join(sorted(known)), "-k", "50")
    assert of_items["items"] == of_user["items"]
    of_titles = said(capsys, "--export", str(vae), "--titles", *(f"Film {i}" for i in sorted(known)), "-k", "50")
    assert of_titles["items"] == of_user["items"]


def test_numbers_of_19_digits_come_back_whole(
    ncf: tuple[Path, str], numbers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, data = open_export(ncf[0] / "export"), Dataset.open(numbers)
    store = DatasetStore(export.data_set)
    assert store.user_ids.dtype == export.item_ids.dtype == np.int64
    assert sorted(store.user_ids.tolist()) == sorted(data.users["user_id"].tolist())
    for row in (0, 11):
        user = int(store.user_ids[row])
        found = said(capsys, "--export", str(ncf[0]), "--user", str(user), "-k", "30")
        assert found["source"] == "model" and found["note"] == ""
        known = set(store.histories([user])[0] or ())
        ids = [item["id"] for item in found["items"]]
        assert len(ids) == 30 and not known & set(ids) and set(ids) <= set(data.items["item_id"])
    assert serving(["recommend", "--export", str(ncf[0]), "--user", str(user), "-k", "3"]) == 0
    assert [line.split()[-2] for line in capsys.readouterr().out.splitlines()[2:]] == [str(i) for i in ids[:3]]
