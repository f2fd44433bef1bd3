"""What `tests.hosts.faults` keeps of each try: a line of JSON; the differences of two runs; the table in Markdown."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.hosts.fault_list import FAULTS, LAUNCHERS

COMPARED = ("loss", "metric", "parameter")
HEADERS = ("fault", "by", "tries", "status", "s to the end", "steps lost", "resumed on", *COMPARED, "last message")
MESSAGES = re.compile(
    r"error: .*|the job ended with status .*|stopped by SIG.*|.*the other ranks are ended|mpirun noticed that .*"
    r"|watchdog: .*|.*lost communication with a remote daemon.*|stopping all ranks.*|ORTE does not know.*"
)
"""Lines that say what happened; others are progress, or the frame of a message of Open MPI."""


@dataclass(kw_only=True)
class Try:
    """One fault, done once."""

    fault: str
    launcher: str
    number: int
    """Of the try, from 0; with fault and launcher it names the try."""
    family: str
    commit: str = ""
    detail: str = ""
    step: int = 0
    """The last step that was in the log when the fault was done."""
    last_step: int = 0
    """The last step that was taken at all."""
    saved_step: int = 0
    """That of the last checkpoint after the end; 0 without one."""
    status: int = 0
    seconds: float = 0.0
    """From the fault until no process of the job is left on any host; where the run goes on, until its next step."""
    said: list[str] = field(default_factory=list)
    """The lines after the fault that are no progress."""
    resumed_on: str = ""
    resume_status: int | None = None
    differences: dict[str, float] = field(default_factory=dict)
    """See `differences`."""
    problems: list[str] = field(default_factory=list)
    """What is not as docs/several-machines.md states."""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.fault, self.launcher, self.number

    @property
    def lost(self) -> int:
        """Steps that were taken and have to be taken again."""
        return self.last_step - self.saved_step


def read(path: Path) -> list[Try]:
    """The tries of a file; none where there is no file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [Try(**json.loads(line)) for line in lines]


def append(path: Path, tried: Try) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(tried)) + "\n")


def losses(run: Path) -> list[tuple[int, float]]:
    """(step, training loss) of the log, in its order; the line that is being written is left out."""
    path = run / "metrics.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            row: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "loss" in row:
            found.append((int(row["step"]), float(row["loss"])))
    return found


def last_step(run: Path) -> int:
    return max((step for step, _ in losses(run)), default=0)


def saved_step(run: Path) -> int:
    """The step of the last complete checkpoint, 0 without one."""
    return max((int(p.parent.name.partition("-")[2]) for p in run.glob("checkpoints/step-*/state.json")), default=0)


def _metrics(run: Path) -> dict[str, float]:
    found = json.loads((run / "result.json").read_text())["test"]["metrics"]
    return {name: float(value["mean"]) for name, value in found.items()}


def _parameters(run: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All floating-point variables of the last checkpoint, those of the optimizer too."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(run / f"checkpoints/step-{saved_step(run):08d}/variables"))
    found = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map() if name[0] != "_"}
    return {name: value for name, value in found.items() if value.dtype.kind == "f"}


def differences(run: Path, reference: Path) -> dict[str, float]:
    """The largest differences of a run to another one that has the same steps.

    Returns:
        loss: relative, over all steps; metric: absolute, over the test metrics; parameter: of any variable of the last
        checkpoint, relative to the largest value of this variable.

    Raises:
        AssertionError: the two have not the same steps (each once), metrics or variables.
    """
    own, other = losses(run), losses(reference)
    assert [step for step, _ in own] == [step for step, _ in other], "the log has not each step once"
    assert saved_step(run) == saved_step(reference), "the last checkpoint is of another step"
    metrics, expected = _metrics(run), _metrics(reference)
    assert metrics.keys() == expected.keys()
    values, of_other = _parameters(run), _parameters(reference)
    assert values.keys() == of_other.keys() and len(values) > 2
    return {
        "loss": max(abs(a - b) / abs(b) for (_, a), (_, b) in zip(own, other, strict=True)),
        "metric": max(abs(metrics[name] - expected[name]) for name in expected),
        "parameter": max(_relative(values[name], of_other[name]) for name in values),
    }


def _relative(values: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """The largest difference, as a share of the largest expected value."""
    largest = float(np.max(np.abs(expected), initial=0.0))
    return float(np.max(np.abs(values - expected), initial=0.0)) / max(largest, 1e-9)


def _spread(values: Sequence[float], digits: int) -> str:
    """ "median (least to most)"."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _counted(values: Iterable[Any]) -> str:
    """Each value once; with how often it came where there are several."""
    listed = list(values)
    counts = {value: listed.count(value) for value in sorted(set(listed))}
    return ", ".join(f"{v} ({n}x)" if len(counts) > 1 else str(v) for v, n in counts.items())


def last_message(tried: Try) -> str:
    """The last line after the fault that says what happened, with DISK for the folder of the run's host."""
    found = [line for line in tried.said if MESSAGES.fullmatch(line)]
    return re.sub(r"/\S+/disk\b", "DISK", found[-1]).replace("|", "/") if found else ""


def _row(tries: Sequence[Try]) -> tuple[str, ...]:
    first, goes_on = tries[0], FAULTS[tries[0].fault].goes_on
    ended = _spread([t.seconds for t in tries], 1)
    worst = []
    for name in COMPARED:
        found = [t.differences[name] for t in tries if name in t.differences]
        worst.append((f"{max(found):.0e}" if max(found) else "0") if found else "")
    return (
        first.fault,
        first.launcher,
        str(len(tries)),
        _counted(t.status for t in tries),
        f"{ended} to the next step" if goes_on else ended,
        "" if goes_on else f"{statistics.median(t.lost for t in tries):.0f} ({max(t.lost for t in tries)})",
        "goes on" if goes_on else _counted(t.resumed_on for t in tries if t.resumed_on),
        *worst,
        "" if goes_on else last_message(tries[-1]),
    )


def _interval(values: Sequence[float], *, low: bool) -> dict[str, float | None]:
    """The median, the least (None where nobody asks for it) and the most."""
    return {"value": statistics.median(values), "low": min(values) if low else None, "high": max(values)}


def results(tries: Sequence[Try]) -> list[dict[str, Any]]:
    """A record for each fault and launcher, as `python -m benchmarks record` reads them."""
    found = []
    for fault, launcher in dict.fromkeys((t.fault, t.launcher) for t in tries):
        own = [t for t in tries if (t.fault, t.launcher) == (fault, launcher)]
        goes_on = FAULTS[fault].goes_on
        worst = {
            f"largest_{name}_difference": max(t.differences[name] for t in own if name in t.differences)
            for name in COMPARED
            if any(name in t.differences for t in own)
        }
        ended = {
            "steps_lost": _interval([float(t.lost) for t in own], low=False),
            "resumed_on": _counted(t.resumed_on for t in own if t.resumed_on),
            "last_message": f"`{last_message(own[-1])}`",
        }
        name = f"{fault} (time to the next step)" if goes_on else fault
        about = {"fault": name, "by": launcher, "tries": len(own), "exit_status": _counted(t.status for t in own)}
        found.append(
            {
                **about,
                "commit": ", ".join(sorted({t.commit for t in own})),
                "seconds": _interval([t.seconds for t in own], low=True),
                **({"resumed_on": "goes on"} if goes_on else ended),
                **worst,
                "note": "The machine had other work.",
            }
        )
    return found


def table(tries: Sequence[Try]) -> str:
    """A row for each fault and launcher, in Markdown, and a line for each problem."""
    rows = [HEADERS, ("---",) * len(HEADERS)]
    for fault in FAULTS:
        for launcher in LAUNCHERS:
            own = [t for t in tries if (t.fault, t.launcher) == (fault, launcher)]
            rows += [_row(own)] if own else []
    lines = [f"| {' | '.join(row)} |" for row in rows]
    bad = [f"{t.fault}, {t.launcher}, try {t.number}: {problem}" for t in tries for problem in t.problems]
    return "\n".join([*lines, "", f"{len(tries)} tries, {len(bad)} not as documented", *bad])
