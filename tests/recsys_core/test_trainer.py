"""`Trainer.fit` with a model that is not the project's, and with baselines: results, callbacks, stopping, resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from examples.linear_autoencoder import LinearAutoencoder
from recsys_core import Dataset, Trainer, load
from recsys_core.errors import UserError
from recsys_core.evaluation.baselines import Ease, Popularity
from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.training.callbacks import Callback, StopEarly
from recsys_core.training.state import EvalEvent, Plan, TrainState
from tests.conftest import ROOT, _environment
from tests.same_runs import assert_same, assert_same_parameters
from vaecf import MultVae

pytestmark = pytest.mark.filterwarnings("ignore:batches of")  # few steps are what makes these trainings short

EASY = {"gate": ("ndcg@100>=0",)}
MISSED = {"gate": ("ndcg@100>=2",)}
"""A gate that no model passes: nothing is exported, which takes longer than these trainings."""


def table(seed: int = 0) -> pd.DataFrame:
    """Purchases of 90 users with text ids, from one of three groups of items."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"u{user}@example.org", f"sku-{3 * item + user % 3}")
        for user in range(90)
        for item in rng.choice(12, 7, replace=False)
    ]
    return pd.DataFrame(rows, columns=["user", "item"])


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(table()).split("users", held_out=12)


def linear(data: Dataset, **settings: Any) -> LinearAutoencoder:
    return LinearAutoencoder(data, rank=8, **settings)


class Witness(Callback):
    """Remembers what it was told; may stop the process's run by a signal."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: list[int] = []
        self.best: list[tuple[int, bool]] = []
        self.ended = 0
        self._stop_after = stop_after

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        assert {"loss", "users_per_second", "gradient_norm"} <= set(values)
        self.steps.append(state.step)
        if state.step == self._stop_after:
            os.kill(os.getpid(), signal.SIGUSR1)

    def on_evaluation(self, event: EvalEvent) -> None:
        self.best.append((event.state.step, event.is_best))

    def on_end(self) -> None:
        self.ended += 1


def test_a_third_model_is_trained_to_a_verdict(data: Dataset, tmp_path: Path, capsys: Any) -> None:
    witness, model = Witness(), linear(data)
    run = Trainer(tmp_path / "run", epochs=20, batch_size=22, evaluate_every=5, callbacks=[witness], **EASY).fit(
        model, data
    )
    assert run.complete and run.passed and run.exit_status == 0
    ndcg = run.test["ndcg@100"]
    assert ndcg.value > ndcg.baselines["popularity"]  # the groups can be learnt
    assert 0 < ndcg.standard_error < 0.2  # type: ignore[operator]
    assert set(run.valid) == {"ndcg@100", "recall@20", "recall@50"}
    assert witness.steps[-1] == 60  # 66 training users in batches of 22
    assert [step for step, _ in witness.best] == [15, 30, 45, 60]
    assert witness.ended == 1
    assert capsys.readouterr() == ("", "")  # a library call prints nothing
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "run.json", "config.yaml", "state.json", "metrics.jsonl", "tensorboard", "curves.png", "checkpoints",
        "result.json", "per_user.parquet", "export",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["family"] == "examples.linear_autoencoder"
    digests = {"items": data.item_digest, "users": data.user_digest}
    assert manifest["data"] == {"folder": None, "fingerprint": data.fingerprint, "view": "", **digests}
    assert manifest["config"]["model"] == {"rank": 8}


def test_a_library_run_is_silent(tmp_path: Path) -> None:
    """In a process of its own, as a script or a notebook is: TensorFlow has notices about exports, too."""
    code = (
        "from tests.recsys_core.test_trainer import EASY, linear, table\n"
        "from recsys_core import Dataset, Trainer\n"
        "data = Dataset.from_frame(table()).split('users', held_out=12)\n"
        f"assert Trainer({str(tmp_path / 'run')!r}, epochs=1, **EASY).fit(linear(data), data).passed\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "INFO:tensorflow" not in done.stderr
    assert "WARNING:tensorflow" not in done.stderr


def test_a_library_run_needs_no_folder(data: Dataset) -> None:
    trainer = Trainer(epochs=1, **MISSED)
    runs = [trainer.fit(linear(data), data) for _ in range(2)]
    assert runs[0].run_dir != runs[1].run_dir
    assert all(run.run_dir is not None and (run.run_dir / "result.json").is_file() for run in runs)


@pytest.mark.parametrize("kind", [Popularity, Ease])
def test_baselines_are_recommenders(kind: type, data: Dataset, tmp_path: Path) -> None:
    model = kind(data)
    run = Trainer(tmp_path / "run", **EASY).fit(model, data)
    assert run.passed
    expected = run.test["ndcg@100"].baselines["popularity"]
    if kind is Popularity:
        assert run.test["ndcg@100"].value == pytest.approx(expected)
    else:
        assert run.test["ndcg@100"].value > expected
    assert (tmp_path / "run" / "export" / "saved_model").is_dir()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_signal_saves_and_the_run_goes_on_as_if_never_stopped(data: Dataset, tmp_path: Path) -> None:
    settings = {"epochs": 10, "batch_size": 22, "evaluate_every": 2, "steps_per_call": 3, **MISSED}
    straight, model = Trainer(tmp_path / "a", **settings), linear(data)
    expected = straight.fit(model, data)
    stopped = Trainer(tmp_path / "b", callbacks=[Witness(stop_after=9)], **settings).fit(linear(data), data)
    assert not stopped.complete and stopped.exit_status == 0
    with pytest.raises(ValueError, match="interrupted"):
        _ = stopped.test
    witness, again = Witness(), linear(data)
    resumed = Trainer(tmp_path / "b", callbacks=[witness], **settings).fit(again, data, resume=True)
    assert witness.steps[0] == 12
    assert resumed.content is not None and expected.content is not None
    assert_same(resumed.content["test"], expected.content["test"])
    assert_same_parameters(again, model)
    logged = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in logged if line["kind"] == "train"]
    assert steps == sorted(set(steps)) == list(range(3, 31, 3))


def test_a_killed_run_logs_no_step_twice(data: Dataset, tmp_path: Path) -> None:
    """The log reaches further than the last checkpoint, and its last line is cut."""
    settings = {"epochs": 6, "batch_size": 22, "evaluate_every": 2, "steps_per_call": 3, **MISSED}
    Trainer(tmp_path / "run", **settings).fit(linear(data), data)
    newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1]
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    log = tmp_path / "run" / "metrics.jsonl"
    log.write_text(log.read_text()[:-20])
    Trainer(tmp_path / "run", **settings).fit(linear(data), data, resume=True)
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    for kind, expected in (("train", [3, 6, 9, 12, 15, 18]), ("validation", [6, 12, 18])):
        assert [line["step"] for line in logged if line["kind"] == kind] == expected
    (events,) = (tmp_path / "run" / "tensorboard").iterdir()
    found = [v.tag for e in tf.compat.v1.train.summary_iterator(str(events)) for v in e.summary.value]
    assert found.count("train/loss") == 6
    assert found.count("epoch") == 3
    assert any(tag.startswith("test/") for tag in found)
    assert "_hparams_/session_start_info" in found


def test_seconds_hold_the_callbacks(data: Dataset, tmp_path: Path) -> None:
    import time

    class Slow(Callback):
        def on_evaluation(self, event: EvalEvent) -> None:
            time.sleep(0.5)

    run = Trainer(tmp_path / "run", epochs=2, evaluate_every=1, callbacks=[Slow()], **MISSED).fit(linear(data), data)
    assert run.content is not None
    assert run.content["seconds"] > run.content["trained_seconds"] + 1.0


def test_a_run_says_what_it_does_and_where_the_time_went(data: Dataset, tmp_path: Path, capsys: Any) -> None:
    run = Trainer(tmp_path / "run", epochs=5, verbose=True, **EASY).fit(linear(data, seed=1), data)
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert lines[:3] == [
        "66 users in batches of 8 (from the data): 9 steps an epoch, 5 epochs, an evaluation every 5; fp32, 1 process",
        "evaluating baselines: popularity ...",
        "compiling the training step ...",
    ]
    assert lines[-2].startswith("epoch 5/5  validation ndcg@100 0.")
    assert lines[-1] == "exporting ..."
    assert run.content is not None
    assert set(run.content["measured"]) == {"command", "time", "commit", "machine", "versions", "conditions"}
    seconds = run.content["durations"]
    assert {"preparation", "baselines", "compiling", "steps", "evaluation", "checkpoints", "curves", "export"} <= set(
        seconds
    )
    assert all(value >= 0 for value in seconds.values())
    assert f"tensorboard --logdir {tmp_path / 'run'}" in shown.out
    assert "time: " in shown.out
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert (config["training"]["batch_size"], config["training"]["evaluate_every"]) == (8, 5)


def test_few_steps_an_epoch_are_pointed_out(data: Dataset, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="batches of 50 leave 2 steps in an epoch of 66 users, 2 updates in all"):
        Trainer(tmp_path / "run", epochs=1, batch_size=50, **MISSED).fit(linear(data), data)


def test_pictures_are_drawn_at_the_end_and_not_after_every_evaluation(data: Dataset, tmp_path: Path) -> None:
    class Pictures(Callback):
        """Times at which the picture was there anew, seen after each evaluation."""

        def __init__(self) -> None:
            self.seen = 0

        def on_evaluation(self, event: EvalEvent) -> None:
            self.seen += (tmp_path / "run" / "curves.png").exists()

    watched = Pictures()
    Trainer(tmp_path / "run", epochs=6, evaluate_every=1, callbacks=[watched], **MISSED).fit(linear(data), data)
    assert watched.seen == 0  # the whole run takes less than DrawCurves.SECONDS_BETWEEN
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_another_model_or_other_settings_are_refused(data: Dataset, tmp_path: Path) -> None:
    Trainer(tmp_path / "run", epochs=1, **MISSED).fit(linear(data), data)
    with pytest.raises(UserError, match=r"run exists; go on with its run by --resume"):
        Trainer(tmp_path / "run", epochs=1, **MISSED).fit(linear(data), data)
    stored = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(UserError, match="--resume: rank is 9"):
        Trainer(tmp_path / "run", epochs=1, **MISSED).fit(LinearAutoencoder(data, rank=9), data, resume=True)
    with pytest.raises(UserError, match="--resume: seed is 4"):
        Trainer(tmp_path / "run", epochs=1, **MISSED).fit(linear(data, seed=4), data, resume=True)
    assert (tmp_path / "run" / "run.json").read_text() == stored  # a refused resume changes nothing


def test_what_cannot_be_trained_is_one_clear_error(data: Dataset, tmp_path: Path) -> None:
    whole = Dataset.from_frame(table())
    with pytest.raises(UserError, match=r"is not split; call split\('users'\) or another protocol first"):
        Trainer(tmp_path / "r").fit(linear(whole), whole)
    with pytest.raises(UserError, match="is not the data set that the model was made for"):
        Trainer(tmp_path / "r").fit(linear(data), Dataset.from_frame(table(1)).split("users", held_out=12))
    with pytest.raises(UserError, match="unknown setting 'epoch', known are: epochs, batch_size"):
        Trainer(tmp_path / "r", epoch=3).fit(linear(data), data)
    with pytest.raises(UserError, match="--epochs is 0"):
        Trainer(tmp_path / "r", epochs=0).fit(linear(data), data)
    with pytest.raises(UserError, match="hr@10/sampled needs lists of candidates"):
        Trainer(tmp_path / "r", metrics=("hr@10/sampled",)).fit(linear(data), data)
    with pytest.raises(UserError, match="--primary: gini@10 cannot decide, because a higher value is no better"):
        Trainer(tmp_path / "r", primary="gini@10").fit(linear(data), data)
    for settings, message in (
        ({"epochs": "20"}, "epochs is '20', expected int"),
        ({"training": {"epochs": 3}}, "training is a dict, expected a TrainingConfig"),
        ({"metrics": 5}, "metrics is 5, expected tuple"),
        ({"seed": 7}, r"seed is a setting of the model; give it there, as MultVae\(data, seed=7\)"),
    ):
        with pytest.raises(UserError, match=message):
            Trainer(tmp_path / "r", **settings).fit(linear(data), data)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="hidden is 600, expected tuple"):
        MultVae(data, hidden=600)
    with pytest.raises(UserError, match="unknown setting 'ranks', known are: rank"):
        LinearAutoencoder(data, ranks=3)
    with pytest.raises(UserError, match="unknown preset 'fast', known are: paper, shallow"):
        MultVae(data, preset="fast")
    assert not (tmp_path / "r").exists()


def evaluated(state: TrainState, value: float, plan: Plan, keep_last: bool = False) -> bool:
    state.step += 2
    evaluation = Evaluation(metrics={"m@1": Estimate(mean=value)}, users=1, users_without_relevant=0)
    return state.record_evaluation(plan, evaluation, "m@1", keep_last).is_best


@pytest.mark.parametrize(("keep_last", "best"), [(False, [True, True, False, False]), (True, [True] * 4)])
def test_the_best_is_the_first_of_equals_or_the_last(keep_last: bool, best: list[bool]) -> None:
    plan, state = Plan(total_steps=8, steps_per_epoch=2, evaluate_every=2, steps_per_call=5), TrainState()
    state.loss_sum, state.loss_steps = 6.0, 3
    assert [evaluated(state, value, plan, keep_last) for value in (0.1, 0.3, 0.3, 0.2)] == best
    assert (state.best_step, state.best_value) == ((8, 0.2) if keep_last else (4, 0.3))
    assert [entry["loss"] for entry in state.history] == [2.0, None, None, None]  # the mean since the last evaluation
    assert [entry["epoch"] for entry in state.history] == [1.0, 2.0, 3.0, 4.0]


def test_patience_and_target_stop() -> None:
    plan, state = Plan(total_steps=10, steps_per_epoch=2, evaluate_every=2, steps_per_call=5), TrainState()
    assert not StopEarly(patience=2).wants_stop(state)
    for value in (0.3, 0.2, 0.1):
        evaluated(state, value, plan)
    assert StopEarly(patience=2).wants_stop(state)
    assert not StopEarly(patience=3).wants_stop(state)
    assert not StopEarly().wants_stop(state)
    assert StopEarly(target=("m@1", 0.25)).wants_stop(state)
    assert not StopEarly(target=("m@1", 0.35)).wants_stop(state)


# Recommending, saving, loading


@pytest.fixture(scope="module")
def model(data: Dataset) -> Ease:
    made = Ease(data, regularization=2.0)
    made.solve()
    return made


def expected_items(model: Ease, history: list[str], hidden: set[str]) -> list[str]:
    """The ranking from the weights, in NumPy."""
    items = model.data.items["item_id"].tolist()
    scores = model.weights.numpy()[[items.index(i) for i in history]].sum(axis=0)
    order = np.argsort(-scores, kind="stable")
    return [items[k] for k in order if items[k] not in hidden]


def history_of(user: str) -> list[str]:
    return table()[table()["user"] == user]["item"].tolist()


def test_recommendations_are_in_the_original_ids(model: Ease) -> None:
    for user in ("u3@example.org", "u40@example.org"):
        known = [i for i in history_of(user) if i in set(model.data.items["item_id"])]
        found = model.recommend([user], k=5)
        assert found.columns.tolist() == ["user", "rank", "item", "score"]
        assert found["user"].tolist() == [user] * 5
        assert found["rank"].tolist() == [1, 2, 3, 4, 5]
        assert found["item"].tolist() == expected_items(model, known, set(known))[:5]
        assert (np.diff(found["score"]) <= 0).all()
        seen = model.recommend([user], k=5, exclude_seen=False)
        assert seen["item"].tolist() == expected_items(model, known, set())[:5]


def test_titles_stand_beside_the_items() -> None:
    titled = table()
    titled["name"] = titled["item"].str.replace("sku-", "Article ")
    data = Dataset.from_frame(titled, title="name").split("users", held_out=12)
    model = Ease(data)
    model.solve()
    found, alike = model.recommend(["u3@example.org"], k=5), model.similar_items("sku-1", k=3)
    assert found.columns.tolist() == ["user", "rank", "item", "title", "score"]
    assert alike.columns.tolist() == ["item", "rank", "similar_item", "title", "score"]
    for items, titles in ((found["item"], found["title"]), (alike["similar_item"], alike["title"])):
        assert titles.tolist() == [f"Article {item.removeprefix('sku-')}" for item in items]


def test_allow_and_deny_act_before_the_top_k(model: Ease) -> None:
    user = "u3@example.org"
    full = model.recommend([user], k=100)["item"].tolist()
    assert len(full) == model.n_items - len(history_of(user))  # everything but what the user has
    last = full[-3:]
    assert model.recommend([user], k=2, allow=last)["item"].tolist() == last[:2]
    assert model.recommend([user], k=5, allow=[*last, "sku-unknown"])["item"].tolist() == last
    assert model.recommend([user], k=3, deny=full[:2])["item"].tolist() == full[2:5]
    assert model.recommend([user], k=3, allow=history_of(user)).empty
    assert model.recommend([user, user], k=1)["item"].tolist() == full[:1] * 2


def test_histories_of_other_users(model: Ease) -> None:
    found = model.recommend(k=3, histories={"a guest": ["sku-1", "sku-4"]})
    assert found["user"].tolist() == ["a guest"] * 3
    assert found["item"].tolist() == expected_items(model, ["sku-1", "sku-4"], {"sku-1", "sku-4"})[:3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": ["nobody"]}, "unknown user 'nobody': it is not in the data set"),
        ({"users": "u3@example.org"}, r"users is 'u3@example.org', expected a list of ids"),
        ({"users": 3}, r"users is 3, expected a list of ids, as \[3\]"),
        ({"users": ["u3@example.org"], "deny": "sku-1"}, r"deny is 'sku-1', expected a list of ids"),
        ({"histories": ["sku-1"]}, "histories is a list, expected names and lists of item ids"),
        ({"histories": {"x": "sku-1"}}, r"histories\['x'\] is 'sku-1', expected a list of ids"),
        ({"histories": {"x": ["sku-99"]}}, "unknown item 'sku-99'"),
        ({"users": ["u3@example.org"], "k": 0}, "k is 0, expected a whole number from 1"),
    ],
)
def test_a_request_that_cannot_be_answered(arguments: dict[str, Any], message: str, model: Ease) -> None:
    with pytest.raises(UserError, match=message):
        model.recommend(**arguments)


def test_ids_without_a_type_in_parquet_are_exported_as_text(tmp_path: Path) -> None:
    from uuid import UUID

    rows = table().assign(user=[UUID(int=int(u[1:].split("@")[0])) for u in table()["user"]])
    data = Dataset.from_frame(rows).split("users", held_out=12)
    model = linear(data)
    assert Trainer(tmp_path / "run", epochs=1, export_users=True, **EASY).fit(model, data).passed
    users = pd.read_parquet(tmp_path / "run" / "export" / "users.parquet")["user_id"]
    assert UUID(users[0]) in set(rows["user"])
    model.save(tmp_path / "m")
    again = load(tmp_path / "m", data)
    pd.testing.assert_frame_equal(again.recommend([UUID(int=3)]), model.recommend([UUID(int=3)]))


def test_a_model_before_its_fit_and_a_folder_of_other_things(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Ease has no parameters yet; fit it first"):
        Ease(data).recommend(["u3@example.org"])
    with pytest.raises(UserError, match="Popularity has no parameters yet"):
        Popularity(data).save(tmp_path / "p")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "x").write_text("mine")
    with pytest.raises(UserError, match="docs exists and holds no saved model; choose another folder"):
        linear(data).save(tmp_path / "docs")
    assert (tmp_path / "docs" / "x").read_text() == "mine"
    for wrong, message in (
        ({"data": table()}, "data is a DataFrame, expected a Dataset"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(UserError, match=message):
            LinearAutoencoder(**{"data": data} | wrong)


def test_similar_items_are_of_the_same_group(data: Dataset) -> None:
    model = linear(data)
    Trainer(epochs=30, batch_size=22, evaluate_every=30, **MISSED).fit(model, data)
    found = model.similar_items("sku-5", k=4)
    assert found["rank"].tolist() == [1, 2, 3, 4]
    assert all(int(item.split("-")[1]) % 3 == 5 % 3 for item in found["similar_item"])
    assert "sku-5" not in set(found["similar_item"])


@pytest.mark.parametrize("make", [linear, Ease, lambda d: MultVae(d, preset="quick", latent=6, hidden=(9,))])
def test_a_saved_model_is_the_same(make: Any, data: Dataset, tmp_path: Path) -> None:
    model = make(data)
    if model.is_closed_form:
        model.solve()
    model.save(tmp_path / "m")
    again, elsewhere = load(tmp_path / "m", data), load(tmp_path / "m")
    users = ["u3@example.org", "u11@example.org"]
    pd.testing.assert_frame_equal(again.recommend(users, k=9), model.recommend(users, k=9))
    guest = {"guest": ["sku-2", "sku-8"]}
    pd.testing.assert_frame_equal(elsewhere.recommend(k=9, histories=guest), model.recommend(k=9, histories=guest))
    assert again.settings == model.settings
    with pytest.raises(UserError, match="unknown user"):
        elsewhere.recommend(users)
    assert again.preset == model.preset
    with pytest.raises(UserError, match="has other items than the model"):
        load(tmp_path / "m", Dataset.from_frame(table().query("item != 'sku-4'")).split("users", held_out=12))
    content = (tmp_path / "m" / "model.json").read_text()
    (tmp_path / "m" / "model.json").write_text(content.replace('"class": "', '"class": "nowhere.'))
    with pytest.raises(UserError, match="holds a model that cannot be made here"):
        load(tmp_path / "m", data)
    (tmp_path / "m" / "model.json").write_text(content)
    np.savez(tmp_path / "m" / "parameters.npz", **{"0": np.zeros(1)})
    with pytest.raises(UserError, match="holds a damaged model: its parameters have shapes"):
        load(tmp_path / "m", data)
    (tmp_path / "m" / "parameters.npz").write_bytes(b"cut")
    with pytest.raises(UserError, match="holds a damaged model"):
        load(tmp_path / "m", data)
    with pytest.raises(UserError, match=r"holds no saved model \(model.json is missing\)"):
        load(tmp_path / "nothing", data)
