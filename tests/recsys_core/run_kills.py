"""Runs that are killed between two of their writes and resumed, each in a process of its own; prints what was found.

python -m tests.recsys_core.run_kills FOLDER

TensorFlow is imported once and used in forked children only, so a run takes a second or two.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.linear_autoencoder import LinearAutoencoder
from recsys_core import Dataset, Trainer
from recsys_core.evaluation.baselines import Popularity
from tests.recsys_core.test_trainer import table

TRAINED = {"epochs": 2, "batch_size": 22, "evaluate_every": 1, "steps_per_call": 3, "gate": ("ndcg@100>=2",)}
"""Two checkpoints, and no export, which takes long."""
SOLVED = {"gate": ("ndcg@100>=0",)}
"""An export, without steps."""


def fit(folder: Path, settings: dict[str, Any]) -> None:
    """Start a run, or resume the one in the folder."""
    data = Dataset.from_frame(table()).split("users", held_out=12)
    model = LinearAutoencoder(data, rank=8) if "epochs" in settings else Popularity(data)
    Trainer(folder, **settings).fit(model, data, resume=(folder / "run.json").is_file())


def in_child(work: Callable[[], object]) -> int:
    """Exit status of a child that does the work; negative if a signal ended it."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(name: str, count: int, work: Callable[[], object]) -> None:
    """Do the work, and be killed before a file or folder gets this name for the `count`-th time."""
    left = [count]

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, target: Path) -> Any:
            left[0] -= target.name == name
            if target.name == name and left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(path, target)

        return call

    for method in ("rename", "replace"):
        setattr(Path, method, counted(getattr(Path, method)))
    work()


def found(folder: Path) -> dict[str, Any]:
    """What a run left: its state, its metrics, whether its export is whole, litter, logged steps."""

    def content(name: str) -> Any:
        return json.loads((folder / name).read_text()) if (folder / name).is_file() else {}

    log = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    export = folder / "export"
    return {
        "state": content("state.json").get("state"),
        "test": content("result.json").get("test"),
        "export": None if not export.exists() else content("export/export.json").get("top_k"),
        "export_is_whole": not export.exists() or (export / "export.json").is_file(),
        "litter": sorted(p.name for p in folder.rglob("*") if p.name.startswith((".", "run.lock"))),
        "trained": [line["step"] for line in lines if line["kind"] == "train"],
    }


CASES: tuple[tuple[dict[str, Any], str, int], ...] = (
    (TRAINED, "state.json", 1),
    (TRAINED, "step-00000003", 1),
    (TRAINED, "best.json", 1),
    (TRAINED, "step-00000006", 1),
    (TRAINED, "result.json", 1),
    (TRAINED, "state.json", 2),
    (SOLVED, "export", 1),
    (SOLVED, "result.json", 2),
    (SOLVED, "state.json", 3),
)
"""Settings, and the write at which the run is killed."""


def killed_and_resumed(folder: Path, settings: dict[str, Any], name: str, count: int) -> dict[str, Any]:
    """Exit statuses, and what was found between and after."""
    killed = in_child(lambda: killed_at(name, count, lambda: fit(folder, settings)))
    between = found(folder)
    return {"killed": killed, "between": between, "again": in_child(lambda: fit(folder, settings)), **found(folder)}


def main(place: Path) -> None:
    """Print a line for each run: what was found after it was resumed, and between."""
    for name, settings in (("trained", TRAINED), ("solved", SOLVED)):
        assert in_child(lambda f=place / name, s=settings: fit(f, s)) == 0  # type: ignore[misc]
        print(json.dumps({"case": name, **found(place / name)}), flush=True)
    for settings, name, count in CASES:
        kind = "trained" if settings is TRAINED else "solved"
        told = killed_and_resumed(place / f"{kind}-{name}-{count}", settings, name, count)
        print(json.dumps({"case": f"{kind} {name} {count}", **told}), flush=True)
    told = killed_and_resumed(place / "solved", SOLVED | {"top_k": 7}, "export", 1)  # the old export has no name now
    print(json.dumps({"case": "replaced", **told}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
