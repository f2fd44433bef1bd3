"""A finished run that is resumed with nothing to train: one line about it, and conversions that are new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsys_core import run_state
from recsys_core.run_state import formats_of
from recsys_core.training.callbacks import Convert
from recsys_core.training.run_folder import RunFolder
from recsys_core.training.task import TrainTask
from recsys_core.world import World


def leave(
    run: RunFolder, task: TrainTask, convert: str, world: World, say: Callable[[str], None] | None
) -> dict[str, Any]:
    """Give the model its parameters, say how the run ended, and convert its export to formats that it has not yet.

    Args:
        convert: formats, separated by commas.
        say: prints a line on rank 0; None for a run that prints nothing.

    Returns:
        The fields of its `TrainResult`.
    """
    if task.model.is_closed_form:
        task.solve(say or _silent)
    else:
        task.checkpoints.restore_best()
    state = run.state()
    (say or _silent)(run_state.ending(run.folder, state))
    new = ",".join(name for name in formats_of(convert) if name not in state.converted)
    content = run.result()
    passed, done = content["gate"]["passed"], True
    if passed and new:
        done = Convert(new, world, verbose=say is not None).on_export(run.folder / "export")
        if done:
            run.converted(new)
    return {"complete": True, "passed": passed, "converted": done, "content": content}


def _silent(text: str) -> None:
    """Tell nothing."""
