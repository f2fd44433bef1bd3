"""Exports that hold no users: their users come from the data set of the run, from --data, or from a store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving import targets
from serving.__main__ import main
from serving.convert.verify import summary, verify
from serving.data_set import MissingDataError
from serving.engines.engine import open_engine
from serving.export_folder import ExportFolder, open_export
from serving.histories.events import Event, StoreUnavailableError
from serving.histories.store import open_store
from serving.recommend.known_users import DOWN
from serving.recommend.recommender import MODEL, POPULAR, Recommender
from serving.recommend.requests import check_request

FILES = ("users.parquet", "histories.npz", "calibration.npz", "test.npz")
Copy = Callable[[str], Path]


def without_users(export: Path, folder: Path) -> Path:
    """A copy of the run of an export, without its users; returns the run."""
    shutil.copytree(export.parent, folder, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", *FILES))
    return folder


@pytest.fixture
def run(vae_export: Path, artifacts: dict[str, Path], tmp_path: Path) -> Path:
    return without_users(vae_export, tmp_path / "run")


def move_data(run: Path) -> None:
    """Have run.json name a folder that is not there."""
    about = json.loads((run / "run.json").read_text())
    about["data"]["folder"] = str(run / "nowhere")
    (run / "run.json").write_text(json.dumps(about))


def recommended(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["recommend", "--export", str(run), "--model", "onnx-fp32", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], run: Path, *words: str) -> str:
    capsys.readouterr()
    assert main(["recommend", "--export", str(run), "--model", "onnx-fp32", *words]) == 2
    return capsys.readouterr().err


def test_users_come_from_the_data_set(
    run: Path, vae: ExportFolder, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = ("--user", str(vae.user_ids[3]))
    wanted = recommended(capsys, vae.folder, *user)
    assert wanted["source"] == "model"
    assert recommended(capsys, run, *user) == wanted
    move_data(run)
    assert "its data set is not where its run says: name a store with --store, or the data" in refusal(
        capsys, run, *user
    )
    assert recommended(capsys, run, *user, "--data", str(tiny_data)) == wanted
    assert recommended(capsys, run, "--items", str(vae.item_ids[0]))["source"] == "model"  # needs no store


def test_another_data_set_is_refused(
    run: Path, tiny_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not the data set that" in refusal(capsys, run, "--user", "1", "--data", str(tiny_pairs))
    assert "is no prepared data set" in refusal(capsys, run, "--user", "1", "--data", str(tmp_path))


def test_an_event_changes_the_answer(
    run: Path, vae: ExportFolder, tiny_data: Path, tmp_path: Path, capsys: Any
) -> None:
    address = f"sqlite:///{tmp_path / 'h.db'}"
    assert main(["histories", "load", "--data", str(tiny_data), "--store", address]) == 0
    user = ("--user", str(vae.user_ids[3]), "--store", address)
    before = recommended(capsys, run, *user)
    assert before == recommended(capsys, run, *user[:2])
    best = before["items"][0]["id"]
    assert main(["histories", "add", *user, "--items", str(best)]) == 0
    after = recommended(capsys, run, *user)
    assert best not in [item["id"] for item in after["items"]] and after["source"] == "model"
    new = recommended(capsys, run, "--user", "987654321", "--store", address)
    assert new["source"] == "popular" and "user 987654321 is not known" in new["note"]


def test_ncf_takes_rows_from_the_store(
    ncf_export: Path, ncf: ExportFolder, artifacts: dict[str, Path], tiny_pairs: Path, tmp_path: Path, capsys: Any
) -> None:
    run = without_users(ncf_export, tmp_path / "run")
    user = ("--user", str(ncf.user_ids[5]))
    wanted = recommended(capsys, ncf.folder, *user)
    assert recommended(capsys, run, *user) == wanted
    move_data(run)
    address = f"sqlite:///{tmp_path / 'h.db'}"
    open_store(address, create=True).append([Event(int(ncf.user_ids[5]), 1)])
    assert (
        "does not hold the users that the model was trained on; load its data set: python -m serving histo"
        in refusal(capsys, run, *user, "--store", address)
    )
    address = f"sqlite:///{tmp_path / 'full.db'}"
    assert main(["histories", "load", "--data", str(tiny_pairs), "--store", address]) == 0
    assert recommended(capsys, run, *user, "--store", address) == wanted
    open_store(address).append([Event(987654321, int(ncf.item_ids[0]))])
    new = recommended(capsys, run, "--user", "987654321", "--store", address)
    assert new["source"] == "popular" and "ranks for the users that it was trained on" in new["note"]


def test_held_out_users_are_those_of_the_data_set(run: Path, vae: ExportFolder) -> None:
    export = open_export(run)
    for name in ("calibration", "test"):
        own, wanted = export.held_out_users(name), vae.held_out_users(name)
        assert own.fold_in.item_ids.tolist() == wanted.fold_in.item_ids.tolist()
        assert own.fold_in.indptr.tolist() == wanted.fold_in.indptr.tolist()
        assert own.source == "validation users"


@pytest.mark.parametrize("name", ["onnx-fp32", "onnx-int8"])
def test_without_its_data_set_a_model_is_verified_by_golden_requests(run: Path, name: str) -> None:
    move_data(run)
    export = open_export(run)
    assert "golden requests" in export.held_out_users("calibration").source
    assert len(export.held_out_users("calibration").fold_in) == 64
    with pytest.raises(MissingDataError, match="is not in .*nowhere any more: name it with --data"):
        export.held_out_users("test")
    artifact = targets.artifact(run / "converted", name)
    found = verify(export, artifact, open_engine(artifact), users=100)
    assert found["passed"] and found["metrics"] == {} and "name it with --data" in found["metrics_not_compared"]
    assert "verified, by golden requests alone: metrics were not compared (the data set of" in summary(found)


def test_an_int8_model_that_answers_otherwise_fails_without_its_data_set(run: Path) -> None:
    move_data(run)
    artifact = targets.artifact(run / "converted", "onnx-int8")
    engine = open_engine(artifact)

    def reversed_order(inputs: Any, outputs: Any = ("items", "scores")) -> Any:
        answers = engine(inputs, outputs)
        n_items = open_export(run).n_items
        answers["items"] = (n_items - 1 - answers["items"]).astype("int32")
        for row, seen in zip(answers["items"], inputs["item_ids"], strict=True):
            row[[item in set(seen.tolist()) for item in row.tolist()]] = -1
        return answers

    found = verify(open_export(run), artifact, reversed_order, users=100)  # type: ignore[arg-type]
    assert not found["passed"]


@pytest.mark.parametrize("popular", [False, True])
def test_a_store_that_is_down(run: Path, vae: ExportFolder, tmp_path: Path, popular: bool) -> None:
    path = tmp_path / "h.db"
    store = open_store(f"sqlite:///{path}", create=True)
    store.append([Event(1, int(vae.item_ids[0]))])
    artifact = targets.artifact(run / "converted", "onnx-fp32")
    recommender = Recommender(open_export(run), open_engine(artifact), None, store, popular_if_down=popular)
    user, both = (
        check_request(user_id=1, top_k=5, k=5),
        check_request(user_id=1, item_ids=[int(vae.item_ids[1])], top_k=5, k=5),
    )
    assert [a.source for a in recommender.recommend([user, both])] == [MODEL, MODEL]
    path.rename(tmp_path / "away")
    if popular:
        answers = recommender.recommend([user, both])
        assert [(a.source, a.note) for a in answers] == [(POPULAR, DOWN), (MODEL, DOWN)]
    else:
        with pytest.raises(StoreUnavailableError):
            recommender.recommend([user, both])
    (tmp_path / "away").rename(path)
    assert [a.source for a in recommender.recommend([user, both])] == [MODEL, MODEL]
