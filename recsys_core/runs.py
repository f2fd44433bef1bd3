"""The folder of a run: created, or found again to be resumed. Rank 0 alone reads and writes it.

run.json           see `run_manifest`          config.yaml    the configuration, to run it again
metrics.jsonl      tensorboard/  curves.png    checkpoints/   result.json    per_user.parquet  export/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from recsys_core.config import RunConfig
from recsys_core.config_changes import differences
from recsys_core.files import WRITING, write_text
from recsys_core.run_manifest import RunManifest, read
from recsys_core.world import World

FILES = (
    "run.json",
    "config.yaml",
    "metrics.jsonl",
    "tensorboard",
    "curves.png",
    "checkpoints",
    "result.json",
    "per_user.parquet",
    "export",
)
"""Names in the folder of a run, in the order in which they are listed to the user."""


def create(
    folder: Path, manifest: RunManifest, *, resume: bool, world: World, renamed: Mapping[str, str] | None = None
) -> None:
    """Make the folder with its manifest, or check that the run in it can be resumed with these settings.

    Args:
        renamed: settings of format 1 -> their names today.

    Raises:
        SharedError: it exists without `resume`; `resume` finds no run there, or one of other settings or of another
            data set; it cannot be written.
    """

    def work() -> None:
        if resume:
            _require_same(folder, read(folder, "--resume", manifest.family, renamed), manifest)
        elif folder.exists() and (not folder.is_dir() or any(not _is_leftover(p) for p in folder.iterdir())):
            resumable = any((folder / name).is_file() for name in ("run.json", "config.yaml"))
            hint = f"go on with its run by --resume {folder}, or choose another" if resumable else "choose another"
            raise ValueError(f"--run-dir {folder} exists; {hint}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--run-dir {folder} cannot be made: {error.strerror}") from None
        manifest.write(folder)
        write_text(folder / "config.yaml", yaml.safe_dump(dict(manifest.config), sort_keys=False))

    world.run_on_rank0(work)


def _is_leftover(path: Path) -> bool:
    return path.name.startswith(WRITING)


def _require_same(folder: Path, stored: RunManifest, manifest: RunManifest) -> None:
    """Refuse settings that are not those of the run, before its manifest is replaced."""
    if stored.fingerprint not in (None, manifest.fingerprint):
        raise ValueError(
            f"--resume: the run in {folder} was trained on another data set ({stored.data or 'in memory'}, "
            f"{str(stored.fingerprint)[:8]}) than {manifest.data or 'the one in memory'} ({manifest.fingerprint[:8]})"  # type: ignore[index]
        )
    for name, old, new in differences(stored.config, manifest.config, (*RunConfig.FREE, "run_dir", "preset")):
        if old is None:  # a setting that the program had not yet when the run was started
            continue
        raise ValueError(
            f"--resume: {name.rpartition('.')[2]} is {new!r}, the run in {folder} has {old!r}; "
            "resume with the settings it was started with"
        )
