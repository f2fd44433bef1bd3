"""Exports of version 2 and of version 3 give the same signatures, golden requests and answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_core.rankings import answers_agree
from serving import targets
from serving.convert import check
from serving.engines.engine import open_engine, reference_engine
from serving.export_folder import NO_SCATTER, SERVING, ExportFolder, open_export, stored_signature
from serving.triton.config import Service, native_config

STORED_NAMES = {2: "serving_pool", 3: "serving_no_scatter"}


def test_the_stored_name_of_a_signature() -> None:
    assert stored_signature(NO_SCATTER, ["serving", "serving_pool"]) == "serving_pool"
    assert stored_signature(NO_SCATTER, ["serving", "serving_no_scatter"]) == "serving_no_scatter"
    assert stored_signature(NO_SCATTER, ["serving_pool", "serving_no_scatter"]) == "serving_no_scatter"
    assert stored_signature(NO_SCATTER, ["serving"]) == "serving_no_scatter"
    assert stored_signature(SERVING, ["serving", "serving_pool"]) == "serving"
    assert stored_signature("recommend", []) == "recommend"


@pytest.mark.parametrize("stored", STORED_NAMES.values())
def test_inputs_and_limit_of_a_stored_signature(stored: str) -> None:
    signatures = {SERVING: {"inputs": {"item_ids": 1}}, stored: {"inputs": {"item_ids": 2}}}
    content = {"signatures": signatures, "history_limits": {SERVING: None, stored: 924}}
    export = ExportFolder(folder=Path("export"), content=content)
    assert (export.inputs(SERVING), export.inputs(NO_SCATTER)) == ({"item_ids": 1}, {"item_ids": 2})
    assert (export.history_limit(SERVING), export.history_limit(NO_SCATTER)) == (None, 924)


@pytest.mark.parametrize("version", [1, 4, 2.5, "2", None, [2]])
def test_another_version_is_refused(version: Any, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps({"format_version": version}))
    with pytest.raises(ValueError, match=r"has export version .*, this program reads 2, 3, 4; train again"):
        open_export(tmp_path)


def _save_with_name(source: Path, folder: Path, old: str, new: str) -> None:
    """Save a SavedModel with one signature renamed."""
    import tensorflow as tf

    model = tf.saved_model.load(str(source))
    signatures = {new if name == old else name: function for name, function in model.signatures.items()}
    tf.saved_model.save(model, str(folder), signatures=signatures)


def copy_as_version(export: ExportFolder, version: int, folder: Path) -> ExportFolder:
    """A copy of an export as training writes it in another version of the format."""
    shutil.copytree(export.folder, folder, ignore=shutil.ignore_patterns("saved_model"))
    old, new = export.stored_signature(NO_SCATTER), STORED_NAMES[version]
    _save_with_name(export.saved_model, folder / "saved_model", old, new)
    content = json.loads((folder / "export.json").read_text())
    content["format_version"] = version
    for part in ("signatures", "history_limits"):
        content[part] = {new if name == old else name: value for name, value in content[part].items()}
    (folder / "export.json").write_text(json.dumps(content))
    with np.load(folder / "golden.npz") as file:
        golden = {name: file[name] for name in file.files}
    renamed = {new + name.removeprefix(old) if name.startswith(f"{old}/") else name: a for name, a in golden.items()}
    np.savez(folder / "golden.npz", **renamed)
    return open_export(folder)


@pytest.fixture(scope="module", params=[(2, "vae"), (3, "vae"), (2, "ncf"), (3, "ncf")], ids=str)
def copies(
    request: pytest.FixtureRequest, vae: ExportFolder, ncf: ExportFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ExportFolder, ExportFolder, int]:
    """An export, its copy in a version of the format, and that version."""
    version, model = request.param
    export = {"vae": vae, "ncf": ncf}[model]
    return export, copy_as_version(export, version, tmp_path_factory.mktemp("copy") / "export"), version


Copies = tuple[ExportFolder, ExportFolder, int]


@pytest.mark.slow
def test_both_versions_have_the_same_signatures_and_golden_requests(copies: Copies) -> None:
    export, copy, version = copies
    assert STORED_NAMES[version] in copy.content["signatures"]
    assert len(copy.content["signatures"]) == len(export.content["signatures"])
    for signature in ("recommend", SERVING, NO_SCATTER):
        assert copy.inputs(signature) == export.inputs(signature)
        assert copy.history_limit(signature) == export.history_limit(signature)
        for found, expected in zip(copy.golden(signature), export.golden(signature), strict=True):
            assert found.keys() == expected.keys() != set()
            assert all(np.array_equal(found[name], expected[name]) for name in expected)
    with pytest.raises(ValueError, match="has no signature 'nonsense', it has: "):
        copy.inputs("nonsense")


@pytest.mark.slow
def test_both_versions_give_the_same_answers(copies: Copies) -> None:
    _, copy, version = copies
    for signature in (SERVING, NO_SCATTER):
        requests, expected = copy.golden(signature)
        assert answers_agree(expected, reference_engine(copy, signature)(requests))
    assert "TopKV2" in check.tensorflow_graph(copy, NO_SCATTER).operators
    config = native_config("films", copy, targets.parse_target("tf-trt-fp32"), [1], Service())
    assert config.parameters["TF_SIGNATURE_DEF"].string_value == STORED_NAMES[version]


@pytest.mark.slow
def test_a_tf_trt_model_of_either_version_is_opened(copies: Copies, tmp_path: Path) -> None:
    """TF-TRT keeps the name of the signature. A copy of the SavedModel stands for its output."""
    _, copy, _ = copies
    artifact = targets.artifact(tmp_path, "tf-trt-fp32")
    shutil.copytree(copy.saved_model, artifact.model)
    requests, expected = copy.golden(artifact.target.signature)
    assert answers_agree(expected, open_engine(artifact)(requests))
