"""`--final-fit` of VAE-CF: the settings of a judged run on all users and all their items."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vaecf.evaluate
import vaecf.train
from data_prep.__main__ import main as data_prep
from recsys_core import Dataset, Trainer, compare, load
from recsys_core.errors import UserError
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.training.final_fit import FinalFit
from recsys_core.world import World
from tests.conftest import Command
from tests.end_to_end.runs import result, variables
from vaecf import MultVae

QUICK: list[str] = ["--preset", "quick", "--latent", "4", "--hidden", "3", "--batch-size", "50", "--gate", "ndcg@100:0"]
SETTINGS: dict[str, Any] = {"epochs": 3, "evaluate_every": 1, "batch_size": 10}


def frame() -> pd.DataFrame:
    """30 users with 6 common items each, and one item of its own for every user: most of those are no training item."""
    rng = np.random.default_rng(1)
    pairs = [(u, f"common-{i}") for u in range(30) for i in rng.choice(12, 6, replace=False)]
    return pd.DataFrame([*pairs, *((u, f"own-{u:02d}") for u in range(30))], columns=["user", "item"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a prepared data set."""
    folder = tmp_path_factory.mktemp("prepared")
    frame().to_csv(folder / "raw.csv", index=False)
    words = ["table", "--raw", str(folder / "raw.csv"), "--out", str(folder / "data"), "--held-out-users", "5"]
    assert data_prep(words) == 0
    return folder / "data"


@pytest.fixture(scope="module")
def judged(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "judged"
    words = ["--data", str(prepared), "--run-dir", str(run), *QUICK, "--epochs", "3", "--evaluate-every", "1"]
    assert vaecf.train.main(words) == 0
    return run


def everything(data: Dataset) -> set[tuple[int, str]]:
    """The (user, item) pairs of a training matrix, in original ids."""
    found = data.train.to_scipy().tocoo()
    users = data.users.query("split == 'train'").sort_values("index")["user_id"].to_numpy()
    return {
        (int(u), str(i)) for u, i in zip(users[found.row], data.items["item_id"].to_numpy()[found.col], strict=True)
    }


@pytest.mark.parametrize("source", ["prepared", "in memory"])
def test_all_users_and_all_their_items_are_training_data(source: str, prepared: Path) -> None:
    data = Dataset.open(prepared) if source == "prepared" else Dataset.from_frame(frame()).split("users", held_out=5)
    assert (data.n_users, data.n_items) == (20, 32)  # 12 common items, and 20 of their own
    viewed = data.viewed("all-users")
    assert (viewed.n_users, viewed.n_items, viewed.view) == (30, 42, "all-users")
    assert everything(viewed) == {(int(u), str(i)) for u, i in frame().itertuples(index=False)}
    assert viewed.items["item_id"].tolist()[:32] == data.items["item_id"].tolist()
    assert viewed.items["count"].tolist() == viewed.train.item_counts().tolist()
    assert viewed.items["count"].min() == 1
    test = viewed.held_out("test")
    assert test.train_rows is not None and test.train_rows.tolist() == list(range(25, 30))
    assert np.array_equal(test.fold_in.indices, data.held_out("test").fold_in.indices)
    assert viewed.fingerprint == data.fingerprint


def test_held_out_items_of_training_users_are_training_data_too(tiny_items: Path) -> None:
    data = Dataset.open(tiny_items)
    viewed = data.viewed("all-users")
    found = [data.held_out(split).fold_out for split in ("valid", "test")]
    assert len(viewed.train.indices) == len(data.train.indices) + sum(len(m.indices) for m in found)


def test_the_fingerprint_is_that_of_the_data_set_without_extra_items(prepared: Path, tmp_path: Path) -> None:
    """A run of an earlier version goes on with the data set that is prepared again; its own lacks the extra items."""
    older = tmp_path / "data"
    shutil.copytree(prepared, older)
    manifest = json.loads((older / "manifest.json").read_text())
    for name in [n for n in manifest["files"] if "extra" in n]:
        del manifest["files"][name]
        (older / name).unlink()
    (older / "manifest.json").write_text(json.dumps(manifest))
    assert Dataset.open(older).fingerprint == Dataset.open(prepared).fingerprint
    with pytest.raises(UserError, match="left out 10 items that only held-out users have; prepare it again"):
        Dataset.open(older).viewed("all-users")


def test_it_trains_every_item_and_names_the_metrics_of_the_judged_run(
    prepared: Path, judged: Path, tmp_path: Path
) -> None:
    assert vaecf.train.main(["--final-fit", str(judged), "--run-dir", str(tmp_path / "final")]) == 0
    found, theirs = result(tmp_path / "final"), result(judged)
    assert found["best_epoch"] == theirs["best_epoch"]
    assert found["steps"] == theirs["best_epoch"] * 1  # 30 users in batches of 50
    assert not {"validation", "test", "baselines"} & found.keys()
    assert found["judged_run"]["run"] == str(judged)
    assert found["judged_run"]["test"] == theirs["test"]
    assert found["gate"] == {**theirs["gate"], "judged_on": str(judged)}
    assert [entry["validation"] for entry in found["history"]] == [{}] * len(found["history"])
    items = pd.read_parquet(tmp_path / "final" / "export" / "items.parquet")["item_id"]
    assert sorted(items) == sorted(set(frame()["item"]))
    export = json.loads((tmp_path / "final" / "export" / "export.json").read_text())
    assert (export["n_items"], export["judged_run"], export["test"]) == (42, str(judged), theirs["test"])
    model = MultVae(Dataset.open(prepared).viewed("all-users"), preset="quick", latent=4, hidden=(3,))
    fresh = model.last[0].numpy()
    Checkpoints(tmp_path / "final" / "checkpoints", keep=1, world=World(), model=model).restore_best()
    assert np.abs(model.last[0].numpy() - fresh).max(axis=0).min() > 0  # every column was trained


@pytest.mark.parametrize(("main", "words", "message"), [
    (vaecf.evaluate.main, ["--run-dir", "{final}"],
     "was trained on all users of its data set, so none is left to evaluate it on; its metrics are those of {judged}"),
    (vaecf.train.main, ["--final-fit", "{final}", "--run-dir", "{new}"], "is a final fit itself"),
    (vaecf.train.main, ["--final-fit", "{nothing}", "--run-dir", "{new}"], "holds no run (no run.json)"),
    (vaecf.train.main, ["--final-fit", "{judged}", "--run-dir", "{new}", "--latent", "9"],
     "--latent is 9, the run has 4. Leave out what the run was not started with"),
    (vaecf.train.main, ["--final-fit", "{judged}", "--run-dir", "{new}", "--preset", "paper"],
     "takes every setting from that run; leave --preset and --config out"),
    (vaecf.train.main, ["--final-fit", "{judged}"], "--run-dir is missing"),
    (compare.main, ["{judged}", "{final}"],
     "was trained on all users of its data set, so it has no values of held-out ones; take {judged}"),
])  # fmt: skip
def test_refusals_of_the_command(
    main: Any, words: list[str], message: str, judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"judged": judged, "final": tmp_path / "final", "new": tmp_path / "new", "nothing": tmp_path / "nothing"}
    manifest = json.loads((judged / "run.json").read_text())
    manifest["config"]["final_fit"], manifest["data"]["view"] = str(judged), "all-users"
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "run.json").write_text(json.dumps(manifest))
    assert main([word.format(**places) for word in words]) == 2
    assert message.format(**places) in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"gate": {"passed": False}, "best_epoch": 3.0}, "missed its gate"),
    ({"gate": {"passed": True}, "best_epoch": 0.0}, "was best before its first step"),
    (None, "has not finished; go on with --resume"),
])  # fmt: skip
def test_refused_runs(changes: dict[str, Any] | None, message: str, judged: Path, tmp_path: Path) -> None:
    run = tmp_path / "judged"
    run.mkdir()
    shutil.copy(judged / "run.json", run)
    if changes is not None:
        (run / "result.json").write_text(json.dumps(changes))
    data = Dataset.from_frame(frame()).split("users", held_out=5).viewed("all-users")
    with pytest.raises(UserError, match=message):
        FinalFit(tmp_path / "final", judged_run=run).fit(MultVae(data), data)


def test_in_python_with_the_means_of_parameters(tmp_path: Path) -> None:
    """The same parameters as a run of as many epochs of the same schedule on the same matrix; stopped and resumed."""
    data = Dataset.from_frame(frame()).split("users", held_out=5)
    options = {**SETTINGS, "average": 1.0, "learning_rate_schedule": "linear"}
    Trainer(tmp_path / "judged", gate=("ndcg@100:0",), **options).fit(MultVae(data, latent=3, hidden=()), data)
    best = result(tmp_path / "judged")["best_epoch"]
    viewed = data.viewed("all-users")
    with pytest.raises(UserError, match=r"FinalFit, and nothing else, trains on data.viewed\('all-users'\)"):
        Trainer(tmp_path / "final", **options).fit(MultVae(viewed), viewed)
    for changes, message in (({"latent": 4}, "latent is 4, .* has 3"), ({"latent": 3, "seed": 8}, "seed is 8, .* has")):
        with pytest.raises(UserError, match=message):
            other = MultVae(viewed, hidden=(), **changes)
            FinalFit(tmp_path / "final", judged_run=tmp_path / "judged").fit(other, viewed)
    model = MultVae(viewed, latent=3, hidden=())
    final = FinalFit(tmp_path / "final", judged_run=tmp_path / "judged").fit(model, viewed)
    assert final.passed and final.content is not None
    with pytest.raises(ValueError, match="a final fit has no metrics of its own"):
        _ = final.test
    again = MultVae(viewed, latent=3, hidden=())
    checkpoints = sorted((tmp_path / "final" / "checkpoints").glob("step-*"))
    if len(checkpoints) > 1:
        shutil.rmtree(checkpoints[-1])  # as if it had been stopped before
    assert FinalFit(tmp_path / "final", judged_run=tmp_path / "judged").fit(again, viewed, resume=True).passed
    for one, two in zip(model.parameters, again.parameters, strict=True):
        assert one.numpy() == pytest.approx(two.numpy(), abs=1e-6)
    assert final.content["steps"] == best * 3  # 30 users in batches of 10
    assert len(model.recommend([0], k=42, exclude_seen=False)) == 42
    model.save(tmp_path / "model")
    assert load(tmp_path / "model", viewed).n_items == 42


def test_ranks_train_the_same_model_from_an_older_one(judged: Path, tmp_path: Path, on_ranks: Command) -> None:
    """A final fit of a run that was started from an older one is started from it too."""
    data = json.loads((judged / "run.json").read_text())["data"]["folder"]
    words = ["--data", data, *QUICK[:-1], "ndcg@100:2", "--epochs", "2", "--evaluate-every", "1"]
    assert vaecf.train.main([*words, "--warm-start", str(judged), "--run-dir", str(tmp_path / "warm")]) == 3
    content = result(tmp_path / "warm")
    content |= {
        "gate": {"passed": True, "conditions": []},
        "best_epoch": 2.0,
    }  # so that nothing but the fit is exported
    (tmp_path / "warm" / "result.json").write_text(json.dumps(content))
    assert vaecf.train.main(["--final-fit", str(tmp_path / "warm"), "--run-dir", str(tmp_path / "one")]) == 0
    done = on_ranks(2, "vaecf.train", "--final-fit", tmp_path / "warm", "--run-dir", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert f"warm start from {judged}, step " in done.stderr and "items: 32 matched, 10 new, 0 gone" in done.stderr
    one, two = variables(tmp_path / "one"), variables(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(one[name] == pytest.approx(two[name], abs=1e-6) for name in one)
