"""A model that is another one: the same graph with other parameters, as if trained by somebody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from serving import targets
from serving.export_folder import digest
from serving.targets import Artifact


def damage_parameters(made: Artifact) -> None:
    """Negate the largest parameter of an ONNX model, and have verify.json say that this is what was verified."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(made.model))
    real = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    largest = max(real, key=lambda t: int(np.prod(t.dims)))
    largest.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(largest), largest.name))
    onnx.save(model, str(made.model))
    bless(made)


def bless(made: Artifact) -> None:
    """Have verify.json name the model that is there."""
    note = made.read_json("verify.json")
    assert note is not None
    (made.folder / "verify.json").write_text(json.dumps(note | {"passed": True, "model_sha256": digest(made.model)}))


def copy(export: Path, converted: Path, target: Path) -> Path:
    """Copy an export, its fp32 ONNX model and the run.json that names its data set; returns the copy of the export."""
    shutil.copytree(export, target / "export")
    shutil.copytree(converted / "onnx-fp32", target / "converted" / "onnx-fp32")
    shutil.copy2(export.parent / "run.json", target)
    return target / "export"


def onnx_of(export: Path) -> Artifact:
    return targets.artifact(targets.default_folder(export), "onnx-fp32")
