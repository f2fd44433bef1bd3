"""The records of one measurement: written to the results file as they come, with the card, the driver and versions."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.running import Outcome
from recsys_core.measuring.machine import machine, versions
from recsys_core.measuring.records import Record, read, record

TRAIN, PEER, RATIO, PART = "gpu-train", "gpu-peer", "gpu-ratio", "gpu-part"
COMMIT = "PROJECT_COMMIT"
"""Environment variable with the commit of the project, where git does not know it (an unpacked copy)."""


class Recorder:
    """Appends the records of one measurement to a results file."""

    def __init__(self, path: Path, card: Mapping[str, str], seen: Mapping[str, Any]) -> None:
        """
        Args:
            card: what nvidia-smi says.
            seen: what TensorFlow says, as `benchmarks.gpu.card` prints it.
        """
        self.path = path
        self._before = len(read(path)) if path.exists() else 0
        environment = dict(seen.get("environment", {}))
        commit = environment.get("git_commit") or os.environ.get(COMMIT)
        self._setting = {"card": card.get("card", "CPU")}
        libraries = {name: str(seen[name]) for name in ("cuda", "cudnn") if seen.get(name)}
        self._about = {
            "machine": {**machine(), **card, "environment": environment},
            "versions": {**versions(), **libraries, **({"commit": commit} if commit else {})},
        }

    def add(self, values: Mapping[str, Any]) -> None:
        """Append one record; `values` holds its kind."""
        record(self.path, values["kind"], {**self._about, **self._setting, **values})

    @property
    def records(self) -> list[Record]:
        """The records of this measurement, as the file has them."""
        return read(self.path)[self._before :] if self.path.exists() else []

    def add_outcome(self, name: str, outcome: Outcome) -> None:
        """How a part ended. Texts that differ from run to run stand in lists, which are no settings."""
        texts = [outcome.state, *([outcome.reason] if outcome.reason else [])]
        self.add({"kind": PART, "part": name, "outcome": texts, "wall_s": outcome.seconds})

    def add_ratios(self) -> None:
        """A record of our compiled step over PyTorch for each setting that both have and that has none yet."""

        records = self.records

        def speeds(kind: str) -> dict[tuple[str, int, str], Record]:
            return {
                (row["model"], row["batch_size"], row["precision"]): row
                for row in records
                if row["kind"] == kind and row.get("examples_per_second") and row.get("step") in (None, "compiled")
            }

        ours, theirs, known = speeds(TRAIN), speeds(PEER), speeds(RATIO)
        for key, row in ours.items():
            peer = theirs.get(key)
            if peer is not None and key not in known:
                medians = [statistics.median(r["examples_per_second"]) for r in (row, peer)]
                names = ("model", "batch_size", "precision")
                self.add(
                    {
                        "kind": RATIO,
                        **{name: row[name] for name in names},
                        "examples_per_second": row["examples_per_second"],
                        "peer_examples_per_second": peer["examples_per_second"],
                        "over_peer": medians[0] / medians[1],
                        "torch": peer["torch"],
                    }
                )
