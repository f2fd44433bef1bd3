"""What the numbers of a run depend on: kept with each checkpoint, and compared when a run is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_core.errors import SharedError
from recsys_core.input.order import ARRAY
from recsys_core.run_manifest import identity_of_format_1

FREE_OF_IDENTITY = ("keep_checkpoints", "steps_per_call")
"""Training settings that change no number of a run."""


def check_same(
    state: Mapping[str, Any],
    now: Mapping[str, Any],
    folder: Path,
    *,
    renamed: Mapping[str, str],
    earlier: Mapping[str, Any],
    longer: bool = False,
) -> None:
    """Refuse the checkpoint of a run with other settings.

    Args:
        state: of the checkpoint.
        now: the identity of this run.
        folder: of the run, for the message.
        renamed: settings of format 1 -> their names today.
        earlier: components that runs of earlier versions lack -> what those runs did.
        longer: allow more epochs than the run had.

    Raises:
        SharedError: names the first setting that differs.
    """
    then = {**earlier, **state["identity"]}
    if "format_version" not in state:
        then = identity_of_format_1(then, renamed)
    for name in sorted(now):
        if longer and name == "epochs" and now[name] > then.get(name, 0):
            continue
        if name in then and then[name] != now[name]:
            raise SharedError(
                f"--resume: {name} is {now[name]!r}, the run in {folder} has {then[name]!r}; "
                "resume with the settings it was started with"
            )


def check_order(state: Mapping[str, Any], now: Mapping[str, Any], folder: Path, steps_per_epoch: int) -> None:
    """Refuse an epoch that was begun in another order, by a version that has only `ARRAY`.

    Raises:
        SharedError: says what to do.
    """
    step = state["progress"]["step"]
    if state["identity"].get("order", ARRAY) != now["order"] and step % steps_per_epoch:
        raise SharedError(
            f"--resume: the run in {folder} is in the middle of an epoch (step {step}) that an earlier version of this "
            "program put in another order; finish the run with that version, or start a new one"
        )
