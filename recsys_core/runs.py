"""The folder of a run: created, or found again to be resumed. Rank 0 alone reads and writes it.

run.json           see `run_manifest`          config.yaml    the configuration, to run it again
state.json         see `run_state`             run.lock       see `run_lock`
metrics.jsonl      tensorboard/  curves.png    checkpoints/   result.json    per_user.parquet  export/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from recsys_core import run_state
from recsys_core.config import RunConfig
from recsys_core.config_changes import differences
from recsys_core.files import REPLACED, WRITING, remove_all_leftovers, write_text
from recsys_core.run_lock import LOCK
from recsys_core.run_manifest import RunManifest, read
from recsys_core.run_state import RunState

FILES = (
    "run.json",
    "config.yaml",
    "state.json",
    "metrics.jsonl",
    "tensorboard",
    "curves.png",
    "checkpoints",
    "result.json",
    "per_user.parquet",
    "export",
)
"""Names in the folder of a run, in the order in which they are listed to the user."""


EPOCHS = "training.epochs"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What is to be done with a run."""

    to_do: str
    """See `run_state.to_do`."""
    schedule_epochs: int | None
    """See `RunManifest.schedule_epochs`."""


def checkpoint_steps(checkpoints: Path) -> list[int]:
    """Steps of the checkpoints in a folder, ascending."""
    found = checkpoints.glob("step-*/state.json") if checkpoints.is_dir() else ()
    return sorted(int(p.parent.name.removeprefix("step-")) for p in found)


def check_place(folder: Path, family: str, *, resume: bool, renamed: Mapping[str, str] | None = None) -> None:
    """Refuse a folder that cannot be a new run's, or that holds no run to resume, before it is touched.

    A folder that another job has locked is left to the lock, which names that job.

    Args:
        renamed: settings of format 1 -> their names today.

    Raises:
        UserError: it exists without `resume`; `resume` finds no run there.
    """
    if resume:
        read(folder, "--resume", family, renamed)
    elif not (folder / LOCK).exists():
        _require_new(folder)


def _require_new(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and all(_is_leftover(p) for p in folder.iterdir())):
        return
    resumable = any((folder / name).is_file() for name in ("run.json", "config.yaml"))
    hint = f"go on with its run by --resume {folder}, or choose another" if resumable else "choose another"
    raise ValueError(f"--run-dir {folder} exists; {hint}")


def _is_leftover(path: Path) -> bool:
    return path.name.startswith((WRITING, REPLACED, LOCK))


def remove_litter(folder: Path) -> None:
    """Remove what killed writers of any host left in the folder of a run. The caller holds its lock.

    A folder that was being replaced has its former content back.
    """
    for place in (folder, folder / "checkpoints"):
        remove_all_leftovers(place, ("export",))


def create(folder: Path, manifest: RunManifest, *, resume: bool, renamed: Mapping[str, str] | None = None) -> Begun:
    """Write the manifest of a new run, or check that the run there can be resumed with these settings.

    A run with nothing left to do is not changed.

    Args:
        renamed: settings of format 1 -> their names today.

    Raises:
        ValueError: the folder holds something without `resume`; or a run of other settings or of another data set.
        UserError: it cannot be written.
    """
    to_do = run_state.TRAIN
    if resume:
        manifest = _continued(folder, read(folder, "--resume", manifest.family, renamed), manifest)
        to_do = run_state.to_do(folder, manifest.config, checkpoint_steps(folder / "checkpoints"))
    else:
        _require_new(folder)
    if to_do != run_state.NOTHING:
        manifest.write(folder)
        write_text(folder / "config.yaml", yaml.safe_dump(dict(manifest.config), sort_keys=False))
    if to_do == run_state.TRAIN:
        run_state.change(folder, run_state.RUNNING)
    return Begun(to_do=to_do, schedule_epochs=manifest.schedule_epochs)


def nothing_left(folder: Path, manifest: RunManifest) -> RunState | None:
    """The state of a run that is to be resumed as it is, where nothing is left to do; else None."""
    steps = checkpoint_steps(folder / "checkpoints")
    if run_state.to_do(folder, manifest.config, steps) != run_state.NOTHING:
        return None
    return run_state.read(folder)


def _continued(folder: Path, stored: RunManifest, manifest: RunManifest) -> RunManifest:
    """The manifest of a resumed run. Settings that are not those of the run are refused before anything is replaced."""
    if stored.fingerprint not in (None, manifest.fingerprint):
        raise ValueError(
            f"--resume: the run in {folder} was trained on another data set ({stored.data or 'in memory'}, "
            f"{str(stored.fingerprint)[:8]}) than {manifest.data or 'the one in memory'} ({manifest.fingerprint[:8]})"  # type: ignore[index]
        )
    schedule = stored.schedule_epochs
    for name, old, new in differences(stored.config, manifest.config, (*RunConfig.FREE, "run_dir", "preset")):
        if old is None:  # a setting that the program had not yet when the run was started
            continue
        if name == EPOCHS and new > old:
            check_longer(stored.config, new, folder)
            schedule = schedule or old
            continue
        raise ValueError(
            f"--resume: {name.rpartition('.')[2]} is {new!r}, the run in {folder} has {old!r}; "
            "resume with the settings it was started with"
        )
    return replace(manifest, schedule_epochs=schedule)


def check_longer(config: Mapping[str, Any], epochs: int, folder: Path) -> None:
    """Refuse more epochs for a run whose learning rate is 0 at the end of those it was started with.

    Args:
        config: of the run, as plain values.

    Raises:
        ValueError: names the schedule and what to do.
    """
    training = config["training"]
    schedule = training.get("learning_rate_schedule", "constant")
    if schedule != "constant":
        raise ValueError(
            f"--resume: epochs is {epochs}, the run in {folder} has {training['epochs']}, at whose end its {schedule} "
            f"learning rate is 0; start another run from it with --warm-start {folder}"
        )
