"""The trainings that are compared: their names, and how each is run as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.whole import curves, inputs
from benchmarks.whole.curves import Curve
from recsys_core.dataset import Dataset
from recsys_core.matrices import Csr

OURS = ("vaecf", "ncf_tf")
FAMILIES = (*OURS, "recbole", "implicit")
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class System:
    """A training: `vaecf:shallow`, `recbole:MultiVAE`, `recbole:MultiVAE,train_batch_size=500`, `implicit:als`."""

    family: str
    model: str
    """A preset of ours, or a model of the library."""
    settings: dict[str, Any]
    """Beside the preset's or the library's own."""

    @property
    def name(self) -> str:
        return ",".join((f"{self.family}:{self.model}", *(f"{k}={v}" for k, v in self.settings.items())))


def parse(text: str) -> System:
    """A system by its name.

    Raises:
        ValueError: an unknown family, or a setting without a value.
    """
    first, *rest = text.split(",")
    family, mark, model = first.partition(":")
    if family not in FAMILIES or not mark or not model:
        raise ValueError(
            f"--systems has {text!r}, expected FAMILY:MODEL[,SETTING=VALUE...] with a family of {', '.join(FAMILIES)}"
        )
    if family == "implicit" and model != "als":
        raise ValueError(f"--systems has {text!r}, known of implicit is als")
    pairs = [setting.partition("=") for setting in rest]
    if bad := [name for name, mark, value in pairs if not (name and mark and value)]:
        raise ValueError(f"--systems has {text!r}: {bad[0]!r} is no SETTING=VALUE")
    return System(family=family, model=model, settings={name: _value(value) for name, _, value in pairs})


def _value(text: str) -> Any:
    """A number, a list or true/false as JSON has it; any other text as it is."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a whole training came to."""

    curve: Curve
    test: float
    seconds: float
    """Of the program, from its start to its end, less what writing lists took."""
    peak_bytes: int


def train(system: System, data: Path, folder: Path, peer_python: str) -> Outcome:
    """Run a training to its end.

    Args:
        folder: for its files; a new one.
        peer_python: the Python that has RecBole.

    Raises:
        RuntimeError: the program failed; the message holds the end of its output.
    """
    folder.mkdir(parents=True)
    opened = Dataset.open(data)
    found = inputs.parts(opened)
    start = time.time()
    if system.family in OURS:
        peak = _run(_our_command(system, data, folder / "run"), folder)
        curve, test = curves.of_run(folder / "run", start)
        return Outcome(curve=curve, test=test, seconds=time.time() - start, peak_bytes=peak)
    peak = _run(_peer_command(system, opened, folder, peer_python), folder)
    curve, test = curves.of_lists(folder, found["valid"], found["test"])
    return Outcome(curve=curve, test=test, seconds=curve.seconds[-1], peak_bytes=peak)


def _our_command(system: System, data: Path, run: Path) -> list[str]:
    flags = [word for name, value in system.settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [
        *(sys.executable, "-m", f"{system.family}.train", "--data", str(data), "--run-dir", str(run)),
        *("--preset", system.model, "--metrics", curves.METRIC, "--primary", curves.METRIC),
        *("--gate", f"{curves.METRIC}>=0.0", *flags),
    ]


def _peer_command(system: System, data: Dataset, folder: Path, peer_python: str) -> list[str]:
    written = folder / "inputs"
    inputs.write(data, written)
    request = {
        "folder": str(written.resolve()),
        "out": str(folder.resolve()),
        "name": inputs.NAME,
        "model": system.model,
        "settings": system.settings,
    }
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    python = peer_python if system.family == "recbole" else sys.executable
    return [python, str(HERE / f"{system.family}_program.py"), str(path.resolve())]


def _run(command: Sequence[str], folder: Path) -> int:
    """Run a program; returns its largest resident set in bytes."""
    with (folder / "output.log").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=_place(command, folder))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}:\n{output.read()[-1500:]}")
    return usage.ru_maxrss * 1024


def _place(command: Sequence[str], folder: Path) -> Path | None:
    """RecBole writes folders into the current one."""
    return folder if command[1].endswith(".py") else None


def shapes(parts: dict[str, Csr]) -> dict[str, int]:
    """Counts for the record."""
    return {
        "users": parts["train"].n_users,
        "items": parts["train"].n_items,
        "interactions": int(parts["train"].indptr[-1]),
    }
