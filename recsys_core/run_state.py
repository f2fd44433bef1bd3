"""`state.json`: where a run stands, whichever job trains it. Rank 0 writes it whole at each change, under the lock.

running -> interrupted   a signal or an error; a run that is running and has no lock was killed
running -> finished      trained and judged: result.json is there, and its verdict is final
finished -> exported     passed its gate, and the export of that model is there
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from recsys_core.files import write_json

STATE = "state.json"
STATE_VERSION = 1
RUNNING, INTERRUPTED, FINISHED, EXPORTED = "running", "interrupted", "finished", "exported"
FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "": (RUNNING, FINISHED),
    RUNNING: (RUNNING, INTERRUPTED, FINISHED),
    INTERRUPTED: (RUNNING,),
    FINISHED: (FINISHED, EXPORTED, RUNNING),
    EXPORTED: (FINISHED, EXPORTED, RUNNING),
}
"""State -> those that may follow it. A finished run is judged anew by another gate, and runs again for more epochs."""
TARGET = "evaluation.target"
JUDGED_WITH = (
    "training.epochs", "top_k", "export_users", "evaluation.metrics", "evaluation.final_metrics", "evaluation.gate",
    "evaluation.baselines", "evaluation.ease_regularization", TARGET,
)  # fmt: skip
"""Settings that may change on a resume and that the verdict or the export depends on."""
TRAIN, JUDGE, CONVERT, NOTHING = "train", "judge", "convert", "nothing"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Where a run stands."""

    state: str
    """running, interrupted, finished or exported; "" for a run of an earlier version, or a new one."""
    step: int = 0
    """The last step when it was interrupted or finished last."""
    epoch: float = 0.0
    changed_unix_s: float = 0.0
    verdict: str = ""
    """passed or missed, since the run was finished."""
    conditions: tuple[str, ...] = ()
    """The conditions of the gate with what was reached, since the run was finished."""
    judged_with: Mapping[str, Any] = field(default_factory=dict)
    """The values of `JUDGED_WITH` at the verdict."""
    export: Mapping[str, Any] | None = None
    """Step of the model that was exported last, and when; it stays whatever becomes of the run."""
    converted: tuple[str, ...] = ()
    """Formats to which that export was converted."""
    reason: str = ""
    """Why it was interrupted."""

    @property
    def has_ended(self) -> bool:
        return self.state in (FINISHED, EXPORTED)

    @property
    def when(self) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.changed_unix_s))


NEW = RunState(state="")


def read(folder: Path) -> RunState:
    """The state of a run; `NEW` where there is none, or none that can be read: its files decide then."""
    try:
        content = json.loads((folder / STATE).read_text())
        if content.pop("format_version") != STATE_VERSION:
            return NEW
        known = {f.name for f in fields(RunState)}
        values = {name: value for name, value in content.items() if name in known}
        lists = {name: tuple(values.get(name, ())) for name in ("conditions", "converted")}
        return RunState(**values | lists)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NEW


def change(folder: Path, state: str, **facts: Any) -> RunState:
    """Write the next state of a run; facts that are not given stay.

    Raises:
        UserError: the disk is full.
    """
    before = read(folder)
    assert state in FOLLOWS[before.state], f"{state} does not follow {before.state!r}"
    if state != before.state:
        facts = {"reason": ""} | facts
    after = replace(before, state=state, changed_unix_s=round(time.time(), 3), **facts)
    write_json(folder / STATE, {"format_version": STATE_VERSION, **asdict(after)})
    return after


def judged_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `JUDGED_WITH`, as JSON has them.

    Args:
        config: of the run, as plain values.
    """

    def value(path: str) -> Any:
        found: Any = config
        for name in path.split("."):
            found = (found or {}).get(name)
        return list(found) if isinstance(found, tuple) else found

    return {path: value(path) for path in JUDGED_WITH}


def formats_of(convert: str) -> tuple[str, ...]:
    """The formats that a value of --convert names."""
    return tuple(name.strip() for name in convert.split(",") if name.strip())


def to_do(folder: Path, config: Mapping[str, Any], checkpoints: Iterable[int]) -> str:
    """Decide about a run that is to be resumed: `TRAIN`, `JUDGE` its best checkpoint, `CONVERT` its export, `NOTHING`.

    The state counts only as far as the files bear it out, so that a run whose checkpoints, result or export were
    removed makes them again.

    Args:
        config: the settings it is resumed with, as plain values.
        checkpoints: steps of those that are there.
    """
    found, asked = read(folder), judged_settings(config)
    if not found.has_ended or not _has_result(folder) or max(checkpoints, default=0) < found.step:
        return TRAIN
    judged = {"export_users": False, **found.judged_with}  # earlier versions had no such setting
    if asked["training.epochs"] > judged.get("training.epochs", 0) or asked[TARGET] != judged.get(TARGET):
        return TRAIN
    if asked != judged:
        return JUDGE
    if found.verdict == "missed":
        return NOTHING
    if found.state != EXPORTED or not (folder / "export" / "export.json").is_file():
        return JUDGE
    return CONVERT if set(formats_of(config.get("convert") or "")) - set(found.converted) else NOTHING


def _has_result(folder: Path) -> bool:
    try:
        return isinstance(json.loads((folder / "result.json").read_text()), dict)
    except (OSError, ValueError):
        return False
