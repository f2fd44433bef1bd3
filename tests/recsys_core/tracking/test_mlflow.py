"""--track: what MLflow holds of a run, and that MLflow never ends a training."""

from __future__ import annotations

import importlib.util
import json
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from recsys_core.evaluation.result import Estimate, Evaluation
from recsys_core.tracking import request as requests
from recsys_core.tracking.mlflow_runs import FILE, TrackMlflow, flat, metric_name
from recsys_core.tracking.request import TrackRequest, check_track, parse_track
from recsys_core.training.state import EvalEvent, TrainState

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="MLflow's client is not installed: pip install mlflow-skinny"
)
CONFIG = {"preset": "quick", "training": {"epochs": 2, "seed": 0}, "evaluation": {"metrics": ["ndcg@100"]}}
RESULT: dict[str, Any] = {
    "test": {"metrics": {"ndcg@100": {"mean": 0.34, "standard_error": 0.01}}},
    "gate": {"passed": True},
    "best_step": 20,
    "data_set": "487e",
}


def _event(step: int, ndcg: float) -> EvalEvent:
    state = TrainState()
    state.step = step
    state.history.append({"step": step, "epoch": step / 10, "loss": 5.0})
    return EvalEvent(
        state=state,
        evaluation=Evaluation(metrics={"ndcg@100": Estimate(mean=ndcg)}, users=3, users_without_relevant=0),
        is_best=True,
    )


def _run_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text("preset: quick\n")
    (folder / "export").mkdir()
    (folder / "export" / "MODEL_CARD.md").write_text("# Model card\n")
    return folder


def test_values_of_the_flag() -> None:
    assert parse_track("") is None and parse_track("mlflow") == TrackRequest(uri="")
    assert parse_track("mlflow:http://localhost:5000") == TrackRequest(uri="http://localhost:5000")
    assert parse_track("mlflow", export=True, register="films") == TrackRequest(uri="", export=True, register="films")
    for text in ("wandb", "mlflow:", "http://localhost"):
        with pytest.raises(ValueError, match=r"--track is .*expected mlflow, or mlflow:URI"):
            parse_track(text)


def test_what_belongs_to_a_server_needs_one() -> None:
    with pytest.raises(ValueError, match="--track-register needs --track: to which server"):
        parse_track("", register="films")
    with pytest.raises(ValueError, match="--track-export needs --track"):
        check_track("", export=True)
    for name in ("a/b", "films:1", " films"):
        with pytest.raises(ValueError, match=rf"--track-register is '{name}', expected a name without / : %"):
            parse_track("mlflow", register=name)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests.importlib.util, "find_spec", lambda name: None)
    check_track("")
    with pytest.raises(ValueError, match="needs MLflow's client; install it with: pip install mlflow-skinny"):
        check_track("mlflow")


def test_names_and_parameters() -> None:
    assert metric_name("hr@10/sampled") == "hr_at_10_sampled"
    assert dict(flat(CONFIG)) == {
        "preset": "quick",
        "training.epochs": "2",
        "training.seed": "0",
        "evaluation.metrics": "['ndcg@100']",
    }


@needs_mlflow
def test_a_resumed_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri, folder = f"file:{tmp_path / 'store'}", _run_folder(tmp_path / "run")
    first = TrackMlflow(TrackRequest(uri=uri), folder, CONFIG, is_rank0=True)
    first.on_evaluation(_event(10, 0.2))
    first.on_end()
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("recsys-scale").experiment_id])
    assert run.info.status == "KILLED" and run.info.run_name == "run"
    resumed = TrackMlflow(TrackRequest(uri=uri), folder, CONFIG, is_rank0=True)
    resumed.on_evaluation(_event(20, 0.3))
    resumed.on_end()
    resumed.on_result(RESULT)
    assert resumed.on_export(folder / "export")
    (run,) = client.search_runs([run.info.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["training.epochs"] == "2"
    assert run.data.tags["gate"] == "passed"
    history = client.get_metric_history(run.info.run_id, "validation/ndcg_at_100")
    assert [(m.step, m.value) for m in history] == [(10, 0.2), (20, 0.3)]
    assert run.data.metrics["test/ndcg_at_100"] == 0.34
    assert run.data.metrics["test/ndcg_at_100_low"] == pytest.approx(0.3204, abs=1e-4)
    found = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert found == {"config.yaml", "result.json", "MODEL_CARD.md"}


def _tracked(uri: str, folder: Path, **words: Any) -> str:
    """A whole run that was tracked; returns its id in MLflow."""
    tracker = TrackMlflow(TrackRequest(uri=uri, **words), folder, CONFIG, is_rank0=True)
    tracker.on_evaluation(_event(10, 0.2))
    tracker.on_end()
    tracker.on_result(RESULT)
    assert tracker.on_export(folder / "export")
    return str(json.loads((folder / FILE).read_text())["run"])


@needs_mlflow
def test_an_export_is_uploaded_and_registered_as_the_next_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In MLflow's own store in SQLite."""
    pytest.importorskip("alembic", reason="MLflow's store in SQLite needs alembic and SQLAlchemy")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri)
    client.create_experiment("recsys-scale", artifact_location=(tmp_path / "artefacts").as_uri())
    for number in (1, 2):
        folder = _run_folder(tmp_path / f"run{number}")
        (folder / "export" / "saved_model").mkdir()
        (folder / "export" / "saved_model" / "saved_model.pb").write_bytes(b"%d" % number)
        run = _tracked(uri, folder, register="films")
        assert _tracked(uri, folder, register="films") == run, "a run that is resumed is not registered twice"
        assert f"MLflow: version {number} of the registered model films" in capsys.readouterr().out
        version = client.get_model_version("films", str(number))
        assert (version.run_id, version.tags) == (run, {"gate": "passed", "data_set": "487e"})
        source = Path(urlsplit(version.source).path)
        assert (source / "saved_model" / "saved_model.pb").read_bytes() == b"%d" % number
        assert (source / "MODEL_CARD.md").is_file()
    assert len(client.search_model_versions("name='films'")) == 2


@needs_mlflow
def test_an_export_is_uploaded_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path / 'store'}"
    run = _tracked(uri, _run_folder(tmp_path / "run"), export=True)
    client = MlflowClient(uri)
    assert [a.path for a in client.list_artifacts(run, "export")] == ["export/MODEL_CARD.md"]
    assert not client.search_registered_models()


@needs_mlflow
def test_a_server_that_is_down_is_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tracker = TrackMlflow(TrackRequest(uri=f"http://127.0.0.1:{port}"), tmp_path, CONFIG, is_rank0=True)
    start = time.monotonic()
    tracker.on_evaluation(_event(10, 0.2))
    assert time.monotonic() - start < 30
    tracker.on_evaluation(_event(20, 0.3))
    tracker.on_end()
    tracker.on_result(RESULT)
    assert tracker.on_export(tmp_path)
    err = capsys.readouterr().err
    warnings = [line for line in err.splitlines() if line.startswith("warning: MLflow")]
    assert len(warnings) == 1 and warnings[0].endswith("the run goes on without tracking")


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    tracker = TrackMlflow(TrackRequest(uri="http://127.0.0.1:9"), tmp_path, CONFIG, is_rank0=False)
    tracker.on_evaluation(_event(10, 0.2))
    tracker.on_end()
    assert not (tmp_path / FILE).exists()
