"""Whole trainings beside other libraries: their names, what they read, their lists, and the time to a target."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import trainings
from benchmarks.whole import curves, inputs, systems
from benchmarks.whole.curves import Curve
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.matrices import Csr

sys.path.insert(0, str(Path(systems.__file__).parent))  # as a program of another library has it
import peer


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Items of all users held out, of a tiny data set."""
    from data_prep.__main__ import main

    folder = tmp_path_factory.mktemp("trainings") / "data"
    words = ["synthetic", "--users", "60", "--items", "40", "--interactions", "900", "--no-ratings"]
    assert main([*words, "--protocol", "per-user", "--out", str(folder)]) == 0
    return folder


def test_names() -> None:
    system = systems.parse("recbole:MultiVAE,train_batch_size=500,mlp_hidden_size=[200]")
    assert (system.family, system.model) == ("recbole", "MultiVAE")
    assert system.settings == {"train_batch_size": 500, "mlp_hidden_size": [200]}
    assert system.name == "recbole:MultiVAE,train_batch_size=500,mlp_hidden_size=[200]"
    for bad in ("MultiVAE", "torch:x", "recbole:", "recbole:MultiVAE,epochs", "implicit:lmf"):
        with pytest.raises(ValueError, match="expected FAMILY|no SETTING|known of implicit"):
            systems.parse(bad)


def test_the_time_to_a_target() -> None:
    slow = Curve(seconds=(2.0, 4.0, 6.0), values=(0.1, 0.3, 0.3))
    fast = Curve(seconds=(1.0, 2.0), values=(0.5, 0.4))
    assert (slow.best, slow.best_at) == (0.3, 1)
    assert curves.common_target([slow, fast], 0.99) == pytest.approx(0.297)
    behind = Curve(seconds=(1.0,), values=(0.01,))
    assert curves.common_target([behind, slow, fast], 0.99) == pytest.approx(0.297)
    assert slow.seconds_to(0.297) == 4.0
    assert fast.seconds_to(0.297) == 1.0
    assert slow.seconds_to(0.4) is None


def test_ndcg_by_hand() -> None:
    lists = np.array([[2, 0, 1], [0, 1, 2], [3, 1, 0]], np.int32)
    wanted = Csr(indptr=np.array([0, 2, 2, 3]), indices=np.array([0, 3, 1], np.int32), n_items=4)
    first = (1 / np.log2(3)) / (1 + 1 / np.log2(3))  # item 0 of 0 and 3, in the second place
    third = 1 / np.log2(3)  # the second user wants nothing and does not count
    assert curves.ndcg(lists, wanted) == pytest.approx((first + third) / 2, rel=1e-12)


def test_files_of_recbole(prepared: Path, tmp_path: Path) -> None:
    data = Dataset.open(prepared)
    inputs.write(data, tmp_path)
    lines = (tmp_path / "data" / "data.train.inter").read_text().splitlines()
    assert lines[0] == "user_id:token\titem_id:token"
    assert len(lines) == 1 + len(data.train.indices)
    user, item = map(int, lines[-1].split("\t"))
    assert (user, item) == (data.n_users - 1, data.train.indices[-1])


def test_a_data_set_that_holds_out_users_is_refused() -> None:
    rng = np.random.default_rng(0)
    import scipy.sparse as sp

    data = Dataset.from_csr(sp.csr_matrix(rng.random((200, 30)) < 0.5)).split("users", held_out=20)
    with pytest.raises(UserError, match="--protocol per-user"):
        inputs.parts(data)


def test_lists_leave_out_what_users_have(prepared: Path, tmp_path: Path) -> None:
    data = Dataset.open(prepared)
    assert data.valid is not None and data.valid.fold_out.n_users < data.n_users  # some users have no validation item
    inputs.write(data, tmp_path / "in")
    recorder = peer.Recorder(tmp_path, peer.Seen(tmp_path / "in" / "matrices.npz"), start=0.0)
    scores = np.random.default_rng(0).random((data.n_users, data.n_items), np.float32)
    recorder.take(1, lambda users: scores[users])
    found = np.load(tmp_path / "lists-0.npz")
    own = inputs.parts(data)["valid"]
    for user in range(data.n_users):
        has = data.train.indices[data.train.indptr[user] : data.train.indptr[user + 1]]
        left = np.setdiff1d(np.arange(data.n_items), has)
        order = left[np.argsort(-scores[user, left])]
        assert found["valid"][user][: len(left)].tolist() == order.tolist()
        later = np.setdiff1d(left, own.indices[own.indptr[user] : own.indptr[user + 1]])
        assert found["test"][user][: len(later)].tolist() == later[np.argsort(-scores[user, later])].tolist()


def test_real_trainings_of_both_families(prepared: Path, tmp_path: Path) -> None:
    from benchmarks.__main__ import main

    results = tmp_path / "results.jsonl"
    words = ["trainings", "--data", str(prepared), "--systems", "vaecf:quick,epochs=1", "ncf_tf:quick,epochs=1"]
    assert main([*words, "--results", str(results)]) == 0
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["system"] for row in rows] == ["vaecf:quick,epochs=1", "ncf_tf:quick,epochs=1"]
    for row in rows:
        assert len(row["curve"]) == row["evaluations"] >= 1
        assert 0.0 < row["ndcg@100"][0] <= 1.0 and 0.0 < row["curve_s"][0] < row["whole_s"][0]


def test_a_real_training_of_implicit(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("implicit", reason="the extra baselines is not installed")
    results = tmp_path / "results.jsonl"
    from benchmarks.__main__ import main

    words = ["trainings", "--data", str(prepared), "--systems", "implicit:als,factors=8,iterations=4,random_state=1"]
    assert main([*words, "--keep", str(tmp_path / "keep"), "--results", str(results)]) == 0
    (row,) = map(json.loads, results.read_text().splitlines())
    assert row["system"] == "implicit:als,factors=8,iterations=4,random_state=1"
    assert (row["evaluations"], len(row["curve"])) == (4, 4)
    assert row["target"] == pytest.approx(0.99 * max(row["curve"]))
    assert 0 < row["target_s"][0] <= row["whole_s"][0]
    assert 0.0 < row["ndcg@100"][0] <= 1.0

    again, other = tmp_path / "again.jsonl", ["--target", str(row["curve"][1])]
    assert main(["trainings", "--again", str(results), *other, "--results", str(again)]) == 0
    (second,) = map(json.loads, again.read_text().splitlines())
    assert second["target_s"] == [
        min(s for s, v in zip(row["curve_s"], row["curve"], strict=True) if v >= row["curve"][1])
    ]
    assert {k: v for k, v in second.items() if "target" not in k} == {k: v for k, v in row.items() if "target" not in k}
    assert main(["trainings", "--again", str(results), "--target", "2", "--results", str(again)]) == 0
    assert json.loads(again.read_text().splitlines()[-1])["target_s"] is None
    assert main(["trainings", "--results", str(again)]) == 1


def test_a_python_without_recbole_is_named(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.__main__ import main

    assert (
        main(
            ["trainings", "--data", str(prepared), "--systems", "recbole:MultiVAE", "--peer-python", "/nowhere/python"]
        )
        == 1
    )
    assert (
        "/nowhere/python cannot train with RecBole (No such file or directory); make an env" in capsys.readouterr().err
    )


def test_the_systems_that_are_chosen_by_default_are_known() -> None:
    assert [systems.parse(text).family for text in trainings.DEFAULT] == [
        "vaecf",
        "vaecf",
        "recbole",
        "recbole",
        "implicit",
    ]
