"""The folder of a run: created, or found again to be resumed. Rank 0 alone reads and writes it.

run.json           see `run_manifest`          config.yaml    the configuration, to run it again
metrics.jsonl      tensorboard/  curves.png    checkpoints/   result.json    export/
"""

from __future__ import annotations

from pathlib import Path

import yaml

from recsys_core.files import write_text
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
    "export",
)
"""Names in the folder of a run, in the order in which they are listed to the user."""


def create(folder: Path, manifest: RunManifest, *, resume: bool, world: World) -> None:
    """Make the folder with its manifest, or check that the run in it can be resumed.

    Raises:
        SharedError: it exists without `resume`, `resume` finds no run there, or it cannot be written.
    """

    def work() -> None:
        if resume:
            read(folder, "--resume")
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"--run-dir {folder} exists; go on with its run by --resume {folder}, or choose another")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--run-dir {folder} cannot be made: {error.strerror}") from None
        manifest.write(folder)
        write_text(folder / "config.yaml", yaml.safe_dump(dict(manifest.config), sort_keys=False))

    world.run_on_rank0(work)
