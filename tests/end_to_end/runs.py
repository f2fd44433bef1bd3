"""What a run left in its folder, read with nothing of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def losses(run: Path) -> np.ndarray:
    """Mean loss of each inner loop."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return np.array([line["loss"] for line in lines if line["kind"] == "train"])


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def environment(run: Path) -> dict[str, Any]:
    """Versions, hardware and ranks that the run's manifest names."""
    return json.loads((run / "run.json").read_text())["environment"]


def metrics(run: Path, split: str = "test") -> dict[str, float]:
    return {name: value["mean"] for name, value in result(run)[split]["metrics"].items()}


def variables(run: Path) -> dict[str, np.ndarray]:
    """Every value of the last checkpoint: parameters, moments, loss scale, step."""
    path = sorted((run / "checkpoints").glob("step-*"))[-1] / "variables"
    reader = tf.train.load_checkpoint(str(path))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if "VALUE" in n}
