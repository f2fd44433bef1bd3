"""Exports of both models after a few epochs of training, their converted models, and a Triton server with both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import targets
from serving.engines.engine import open_engine
from serving.export_folder import ExportFolder, open_export
from serving.recommend.recommender import Recommender
from serving.triton import server
from serving.triton.client import Client
from tests.serving import other_model
from tests.serving.processes import of_repository, shared_memory
from tests.serving.served import Served
from tests.serving.two_models import Models, answers_of, same


def _train(python: Any, module: str, data: Path, folder: Path, *words: str) -> Path:
    run = folder / "run"
    done = python(
        f"{module}.train",
        "--data",
        data,
        "--run-dir",
        run,
        "--preset",
        "quick",
        "--epochs",
        "4",
        "--export-users",
        *words,
    )
    assert done.returncode == 0, done.stderr
    return run / "export"


@pytest.fixture(scope="session")
def vae_export(tiny_data: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export folder of a VAE-CF on the tiny data set."""
    return _train(python, "vaecf", tiny_data, tmp_path_factory.mktemp("vae"), "--gate", "ndcg@100>=0.0")


@pytest.fixture(scope="session")
def ncf_export(tiny_pairs: Path, python: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export folder of a NeuMF on the tiny data set."""
    return _train(python, "ncf_tf", tiny_pairs, tmp_path_factory.mktemp("ncf"), "--gate", "hr@10>=0.0")


@pytest.fixture(scope="session")
def artifacts(vae_export: Path, ncf_export: Path, python: Any) -> dict[str, Path]:
    """Folders of the verified ONNX (fp32, fp16, int8) and SavedModel models of "vae" and "ncf"."""
    folders = {}
    for name, export in (("vae", vae_export), ("ncf", ncf_export)):
        words = ("convert", "--export", export, "--to", "onnx,savedmodel", "--precision", "fp32,fp16,int8")
        done = python("serving", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        folders[name] = export.parent / "converted"
    return folders


@pytest.fixture(scope="session")
def vae(vae_export: Path) -> ExportFolder:
    return open_export(vae_export)


@pytest.fixture(scope="session")
def ncf(ncf_export: Path) -> ExportFolder:
    return open_export(ncf_export)


@pytest.fixture(scope="module")
def served(
    vae: ExportFolder, ncf: ExportFolder, artifacts: dict[str, Path], python: Any, tmp_path_factory: Any
) -> Iterator[Served]:
    exports = {"vae": vae, "ncf": ncf}
    folder = tmp_path_factory.mktemp("triton") / "repository"
    offline, titles = {}, {}
    for name, export in exports.items():
        words = ("--export", export.folder, "--models", artifacts[name], "--repository", folder, "--name", name)
        done = python("serving", "triton", "build", *words)
        assert done.returncode == 0, done.stderr
        made = targets.artifact(artifacts[name], "onnx-fp32")
        offline[name] = Recommender(export, open_engine(made), export.history_limit(made.target.signature))
        ids, texts = (export.items[column].tolist() for column in ("item_id", "title"))
        titles[name] = {i: t if isinstance(t, str) else "" for i, t in zip(ids, texts, strict=True)}
    with server.running(folder) as (process, ports):
        yield Served(process=process, ports=ports, repository=folder, offline=offline, exports=exports, titles=titles)
        assert process.poll() is None, "the server ended while the tests ran"
    assert not of_repository(folder)
    assert not shared_memory(f"recsys_{os.getpid()}_{ports.http}_")


@pytest.fixture(params=["http", "grpc"])
def client(served: Served, request: pytest.FixtureRequest) -> Iterator[Client]:
    with served.client(request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def models(vae_export: Path, artifacts: dict[str, Path], tmp_path_factory: Any) -> Models:
    folder = tmp_path_factory.mktemp("two-models")
    old = other_model.copy(vae_export, artifacts["vae"], folder / "old")
    new = other_model.copy(vae_export, artifacts["vae"], folder / "new", better_by=0.01)
    other_model.damage_parameters(other_model.onnx_of(new))
    made = Models(old=old, new=new, old_answers=answers_of(old), new_answers=answers_of(new))
    assert not any(same(made.old_answers[user], made.new_answers[user]) for user in made.old_answers)
    return made
