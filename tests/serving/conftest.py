"""Real exports of both models, trained for a moment, and their conversions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.export_folder import ExportFolder, open_export


def _train(python: Any, module: str, data: Path, folder: Path, *words: str) -> Path:
    run = folder / "run"
    done = python(f"{module}.train", "--data", data, "--run-dir", run, "--preset", "quick", "--epochs", "4", *words)
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
def converted(vae_export: Path, ncf_export: Path, python: Any) -> dict[str, Path]:
    """Folders of the verified ONNX conversions (fp32, fp16, int8) of "vae" and "ncf"."""
    folders = {}
    for name, export in (("vae", vae_export), ("ncf", ncf_export)):
        words = ("convert", "--export", export, "--to", "onnx,savedmodel", "--precision", "fp32,fp16,int8")
        done = python("serving", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        folders[name] = export.parent / "converted"
    return folders


@pytest.fixture(scope="session")
def exact(converted: dict[str, Path]) -> dict[str, Path]:
    """Folders that hold the verified onnx-fp32 of "vae" and "ncf"."""
    return converted


@pytest.fixture(scope="session")
def vae(vae_export: Path) -> ExportFolder:
    return open_export(vae_export)


@pytest.fixture(scope="session")
def ncf(ncf_export: Path) -> ExportFolder:
    return open_export(ncf_export)
