"""A finished run that is resumed with nothing to train: one line about it, and conversions that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsys_core.run_state import RunState, formats_of
from recsys_core.training.callbacks import Convert
from recsys_core.training.run_folder import RunFolder
from recsys_core.training.task import TrainTask

if TYPE_CHECKING:
    from recsys_core.training.trainer import Trainer


def leave(run: RunFolder, task: TrainTask, convert: str, trainer: Trainer) -> dict[str, Any]:
    """Give the model its parameters, say how the run ended, and convert its export to formats that it has not yet.

    Args:
        convert: formats, separated by commas.

    Returns:
        The fields of its `TrainResult`.
    """
    if task.model.is_closed_form:
        task.solve(trainer.announce)
    else:
        task.checkpoints.restore_best()
    state = run.state()
    trainer.say(line(run, state))
    new = ",".join(name for name in formats_of(convert) if name not in state.converted)
    content = run.result()
    passed, done = content["gate"]["passed"], True
    if passed and new:
        done = Convert(new, trainer.world, verbose=trainer.verbose).on_export(run.folder / "export")
        if done:
            run.converted(new)
    return {"complete": True, "passed": passed, "converted": done, "content": content}


def line(run: RunFolder, state: RunState) -> str:
    """How a finished run ended, and what can be done with it."""
    ended = f"{run.folder} finished at epoch {state.epoch:g} (step {state.step:,}) on {state.when}"
    gate = f" ({'; '.join(state.conditions)})" if state.conditions else ""
    if state.verdict == "passed":
        return f"{ended} and passed its gate{gate}; {run.folder / 'export'} has the model"
    return (
        f"{ended} and missed its gate{gate}; nothing is changed. --epochs trains it longer, --gate judges it by "
        "another condition"
    )
