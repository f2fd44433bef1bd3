"""Whole files or none; configurations that read back; checkpoints that survive; damaged data sets that are refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ncf_tf import config as ncf
from recsys_core import dataset, files, flags
from recsys_core.config import TrainingConfig, plain
from vaecf import config as vaecf
from vaecf.config import PRESETS, SPEC, Config, ModelConfig


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    files.write_json(path, {"a": 1})

    def fail(working: Path) -> None:
        working.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ValueError, match=r"cannot write .*result.json: No space left on device"):
        files.publish(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):

        def write(working: Path, content: str = content) -> None:
            working.mkdir()
            (working / content).write_text(content)

        files.publish(tmp_path / "export", write)
    assert [p.name for p in tmp_path.iterdir()] == ["export"]
    assert [p.name for p in (tmp_path / "export").iterdir()] == ["new"]


def ended_process() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    host = socket.gethostname()
    ended, alive = f"{ended_process()}@{host}", f"{os.getppid()}@{host}"
    (tmp_path / f".writing-{ended}-step-00000009").mkdir()
    (tmp_path / f".writing-{ended}-step-00000009" / "part").write_text("half")
    (tmp_path / f".writing-{ended}-a.json").write_text("half")
    kept = {f".writing-{alive}-b.json", f".writing-{ended}x-c.json"}  # of a process that runs, of another host
    for name in kept:
        (tmp_path / name).write_text("being written")
    (tmp_path / f".replaced-{ended}-export").mkdir()
    (tmp_path / f".replaced-{ended}-export" / "old").write_text("whole")
    files.write_json(tmp_path / "c.json", {})
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "c.json", "export"}
    assert (tmp_path / "export" / "old").read_text() == "whole"  # killed before the new one had its name


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "x.json", {"ndcg": float("nan")})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("preset", PRESETS)
def test_yaml_reads_back(preset: str, tmp_path: Path) -> None:
    words = ["--preset", preset, "--data", "d", "--run-dir", "r", "--l2", "1e-5"]
    original: Config = flags.parse(SPEC, words).config
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(original)))
    assert flags.from_yaml(tmp_path / "config.yaml", PRESETS["paper"].config) == original


def test_flags_win_over_yaml_and_yaml_over_presets(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("training: {epochs: 7, learning_rate: 1e-2}\nmodel: {hidden: [30, 20]}\n")
    words = ["--preset", "nvidia", "--config", str(path), "--data", "d", "--run-dir", "r", "--epochs", "9"]
    got: Config = flags.parse(SPEC, words).config
    assert (got.training.epochs, got.training.learning_rate, got.model.hidden) == (9, 0.01, (30, 20))
    assert (got.training.published_batch_size, got.preset) == (24_576, "nvidia")


FAMILIES = pytest.mark.parametrize(
    ("family", "preset"), [(module, preset) for module in (vaecf, ncf) for preset in module.PRESETS]
)


@FAMILIES
def test_a_config_made_in_python_has_the_values_of_its_preset(family: Any, preset: str) -> None:
    got = type(family.PRESETS[preset].config)(data=Path("d"), run_dir=Path("r"), preset=preset)
    expected = dataclasses.replace(family.PRESETS[preset].config, data=Path("d"), run_dir=Path("r"))
    assert got == expected


def test_values_of_a_preset_in_python() -> None:
    got = Config(data=Path("d"), run_dir=Path("r"), preset="shallow", training=TrainingConfig(epochs=3))
    assert (got.model.kind, got.model.hidden) == ("dae", ())
    assert (got.training.epochs, got.training.l2) == (3, 0.0)  # what is given wins, whole components
    tuned = ncf.Config(data=Path("d"), run_dir=Path("r"), preset="tuned")
    assert (tuned.model.ensemble_size, tuned.sampling.negatives, tuned.training.epsilon) == (2, 16, 1e-4)
    with pytest.raises(ValueError, match="unknown preset 'fast', known are: paper, shallow, nvidia, quick"):
        Config(data=Path("d"), run_dir=Path("r"), preset="fast")
    with pytest.raises(ValueError, match="preset 'recvae' is one of RecVaeRunConfig, this is Config"):
        Config(data=Path("d"), run_dir=Path("r"), preset="recvae")


@FAMILIES
def test_a_preset_named_in_yaml(family: Any, preset: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"preset: {preset}\ntraining: {{learning_rate: 0.25}}\n")
    words = ["--config", str(path), "--data", "d", "--run-dir", "r"]
    got = flags.parse(family.SPEC, words).config
    by_flag = flags.parse(
        family.SPEC, ["--preset", preset, "--learning-rate", "0.25", "--data", "d", "--run-dir", "r"]
    ).config
    assert got == by_flag
    assert flags.parse(family.SPEC, [*words, "--preset", preset]).config == by_flag
    assert flags.parse(family.SPEC, [*words, "--seed", "7"]).config.training.seed == 7


def test_the_yaml_file_of_a_run_gives_its_values_whatever_its_preset_is_today(tmp_path: Path) -> None:
    words = ["--preset", "nvidia", "--data", "d", "--run-dir", "r", "--latent", "7", "--beta2", "0.5"]
    original = flags.parse(SPEC, words).config
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(plain(original)))
    assert flags.parse(SPEC, ["--config", str(path)]).config == original


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "paper"], "--preset is paper, --config .*c.yaml has preset nvidia; leave one of them out"),
        ([], "unknown preset 'fast', known are: paper, shallow, nvidia, quick"),
    ],
)
def test_presets_that_cannot_be_applied(words: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"preset: {'nvidia' if words else 'fast'}\n")
    with pytest.raises(ValueError, match=message):
        flags.parse(SPEC, ["--config", str(path), "--data", "d", "--run-dir", "r", *words])


@pytest.mark.parametrize("preset", PRESETS)
def test_a_model_made_in_python_has_its_preset(preset: str) -> None:
    from recsys_core.dataset import Dataset

    model = SPEC.model_class(preset)(Dataset.empty(1, 30), preset=preset, dropout=0.25)
    wanted = PRESETS[preset].config
    assert model.settings["model"] == dataclasses.replace(wanted.model, dropout=0.25)
    assert (model.training, model.evaluation) == (wanted.training, wanted.evaluation)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: 7}", "epoch"),
        ("training: {epochs: many}", "epochs"),
        ("- 1", "expected names and values"),
        ("a: [", "not YAML"),
        ("preset: [quick]", "preset"),
    ],
)
def test_bad_yaml(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        flags.from_yaml(tmp_path / "c.yaml", PRESETS["paper"].config)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "gan"), ("activation", "swish"), ("dropout", 1.0), ("latent", 0), ("hidden", (0,))]
)
def test_bad_model(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"--?{field}|unknown --{field}"):
        ModelConfig(**{field: value}).check()  # type: ignore[arg-type]


def test_data_set_reads_back(tiny_data: Path) -> None:
    dataset.verify_integrity(tiny_data)
    data = dataset.Dataset.open(tiny_data)
    assert data.train.n_users == data.manifest["counts"]["train_users"]
    assert data.valid.n_users == data.test.n_users == 60
    assert (data.items["count"].to_numpy() == data.train.item_counts()).all()
    assert isinstance(data.train.indices, np.memmap)


def damage(folder: Path, what: str) -> None:
    """Do one of the things that happen to folders."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if what == "cut":
        path = folder / "train.indices.npy"
        path.write_bytes(path.read_bytes()[:-100])
    elif what == "flipped":
        path = folder / "valid.fold_in.indices.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    elif what == "missing":
        (folder / "items.parquet").unlink()
    elif what == "version":
        (folder / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    elif what == "no counts":
        (folder / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "counts"}))
    elif what == "no json":
        (folder / "manifest.json").write_text("{")
    else:
        (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut", "train.indices.npy is not what was written"),
        ("flipped", "valid.fold_in.indices.npy is not what was written"),
        ("missing", "items.parquet is missing"),
        ("version", "format version 99, this program reads 1"),
        ("no json", "manifest.json is damaged"),
        ("no manifest", "is no prepared data set"),
        ("no counts", "manifest.json is damaged"),
    ],
)
def test_a_damaged_data_set_is_refused(what: str, message: str, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_data, folder)
    damage(folder, what)
    with pytest.raises(ValueError, match=message):
        dataset.verify_integrity(folder)
