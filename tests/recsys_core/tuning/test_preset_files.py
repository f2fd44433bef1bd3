"""`--preset FILE`: a YAML file that names a preset and what it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncf_tf import config as ncf
from recsys_core import flags
from vaecf import config as vaecf

PLACES = ["--data", "d", "--run-dir", "r"]


def test_a_preset_file_changes_its_preset_and_flags_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "best.yml"
    path.write_text("preset: tuned\nmodel: {factors: 7}\ntraining: {learning_rate: 1e-1}\nsampling: {negatives: 3}\n")
    got = flags.parse(ncf.SPEC, [*PLACES, "--preset", str(path), "--negatives", "5"]).config
    wanted = flags.parse(
        ncf.SPEC, [*PLACES, "--preset", "tuned", "--factors", "7", "--learning-rate", "0.1", "--negatives", "5"]
    ).config
    assert got == wanted and got.preset == "tuned"


def test_a_name_with_a_separator_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "best").write_text("preset: shallow\nmodel:\n  latent: 12\n")
    monkeypatch.chdir(tmp_path)
    assert flags.parse(vaecf.SPEC, [*PLACES, "--preset", "folder/best"]).config.model.latent == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"--preset .*best.yaml does not exist"),
        ("preset: fast\n", r"--preset .*best.yaml: unknown preset 'fast', known are: paper, shallow, nvidia, quick"),
        ("model: {latent: 3}\n", r"--preset .*best.yaml names no preset to start from; known are: paper, shallow"),
        ("preset: quick\nmodel: {width: 3}\n", r"--preset .*best.yaml: .*width"),
        ("preset: quick\nmodel: {latent: wide}\n", r"--preset .*best.yaml: .*latent"),
        ("preset: quick\nmodel: {dropout: 2.0}\n", "--dropout is 2.0, expected a share from 0 to below 1"),
        ("preset: [quick\n", r"--preset .*best.yaml is not YAML"),
        ("quick\n", r"--preset .*best.yaml holds str, expected names and values"),
    ],
)
def test_preset_files_that_are_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        flags.parse(vaecf.SPEC, [*PLACES, "--preset", str(path)])


def test_a_preset_file_beside_a_configuration_of_another_preset(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("preset: shallow\nmodel: {latent: 12}\n")
    (tmp_path / "c.yaml").write_text("preset: quick\n")
    words = ["--preset", str(tmp_path / "best.yaml"), "--config", str(tmp_path / "c.yaml")]
    with pytest.raises(ValueError, match=r"--preset is shallow, --config .*c.yaml has preset quick; leave one of them"):
        flags.parse(vaecf.SPEC, [*PLACES, *words])
