"""The start of a run: the parameters of an older one where that is asked for, and the folder with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys_core import devices, run_manifest, warm_start
from recsys_core.config import plain
from recsys_core.dataset import Dataset
from recsys_core.model import Recommender
from recsys_core.run_manifest import RunManifest
from recsys_core.runs import Begun, checkpoint_steps
from recsys_core.training.run_folder import RunFolder
from recsys_core.world import World


def begin(
    run: RunFolder,
    model: Recommender,
    data: Dataset,
    options: Mapping[str, Any],
    *,
    resume: bool,
    world: World,
    say: Callable[[str], None],
    schedule_epochs: int | None = None,
) -> Begun:
    """Start a model from an older run, if `options` name one, and write the manifest, or check the run to resume.

    Args:
        options: the fields of a `RunConfig` besides its folders and the model's own components, as plain values.
        say: prints a line on rank 0.
        schedule_epochs: see `RunManifest.schedule_epochs`.

    Raises:
        SharedError: the older run cannot be started from, or see `runs.create`.
    """
    started, folder = None, run.folder
    if resume and any_checkpoint(folder, world):
        started = world.run_on_rank0(lambda: run_manifest.read(folder, "--resume").started_from)
    elif options["warm_start"]:
        found = warm_start.start(model, Path(options["warm_start"]), world)
        say(str(found))
        if note := found.note:
            say(f"note: {note}")
        started = asdict(found)
    manifest = RunManifest(
        family=model.family,
        config=_configuration(folder, model, data, options),
        data=data.folder,
        fingerprint=data.fingerprint,
        view=data.view,
        environment=devices.describe(world),
        items=data.item_digest,
        users=data.user_digest,
        model=type(model).__name__,
        started_from=started,
        schedule_epochs=schedule_epochs,
    )
    return run.begin(manifest, resume=resume, renamed=model.renamed)


def any_checkpoint(folder: Path, world: World) -> bool:
    """Whether a run has a complete checkpoint to go on from, on every rank."""
    return world.run_on_rank0(lambda: bool(checkpoint_steps(folder / "checkpoints")))


def _configuration(folder: Path, model: Recommender, data: Dataset, options: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration as plain values, in the form of a family's `RunConfig`; components come last."""
    components = {name: plain(component) for name, component in model.settings.items()}
    components |= {name: value for name, value in options.items() if isinstance(value, Mapping)}
    return {
        "data": str(data.folder.absolute()) if data.folder else None,
        "run_dir": str(folder.absolute()),
        "preset": model.preset,
        **{name: value for name, value in options.items() if name not in components},
        **components,
    }
