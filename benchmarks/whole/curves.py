"""How good a training was after how many seconds, and when it first was as good as asked.

Shape legend: U users, K items of a list.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_core.matrices import Csr

METRIC = "ndcg@100"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The validation metric of a training at its evaluations."""

    seconds: tuple[float, ...]
    """Since its program was started."""
    values: tuple[float, ...]

    @property
    def best(self) -> float:
        return max(self.values)

    @property
    def best_at(self) -> int:
        """Place of the best value, the first of equal ones."""
        return self.values.index(self.best)

    def seconds_to(self, target: float) -> float | None:
        """Seconds until the first evaluation at which the metric is at least the target; None if none is."""
        return next((s for s, value in zip(self.seconds, self.values, strict=True) if value >= target), None)


def ndcg(lists: npt.NDArray[np.int32], wanted: Csr) -> float:
    """Mean NDCG@K over the users who have something to be found, as `recsys_core.evaluation` has it.

    Args:
        lists: [U, K] items, best first.
        wanted: [U, I] the items to be found.
    """
    import tensorflow as tf

    from recsys_core.evaluation.metrics import ndcg as ndcg_of_hits

    counts = np.diff(wanted.indptr)
    users = np.repeat(np.arange(wanted.n_users, dtype=np.int64), counts)
    keys = users * wanted.n_items + np.asarray(wanted.indices)
    asked = np.arange(len(lists), dtype=np.int64)[:, None] * wanted.n_items + lists
    hits = np.isin(asked, keys)
    has_some = counts > 0
    values = ndcg_of_hits(tf.constant(hits[has_some], tf.float64), tf.constant(counts[has_some], tf.float64))
    return float(tf.reduce_mean(values))


def of_lists(folder: Path, valid: Csr, test: Csr) -> tuple[Curve, float]:
    """The curve of a program of another library (`peer.Recorder`), and the test metric at the best evaluation."""
    lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    values = [ndcg(np.load(folder / line["lists"])["valid"], valid) for line in lines]
    curve = Curve(seconds=tuple(line["seconds"] for line in lines), values=tuple(values))
    return curve, ndcg(np.load(folder / lines[curve.best_at]["lists"])["test"], test)


def of_run(run: Path, start: float) -> tuple[Curve, float]:
    """The curve of a training of ours, and its test metric.

    Args:
        start: when its program was started, seconds since 1970.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if line["kind"] == "validation"]
    curve = Curve(
        seconds=tuple(line["time_unix_s"] - start for line in found), values=tuple(_metric(line) for line in found)
    )
    result = json.loads((run / "result.json").read_text())
    return curve, float(_metric(result["test"]["metrics"])["mean"])


def _metric(values: Mapping[str, Any]) -> Any:
    """The metric over the whole catalogue; NCF, which has sampled ones too, says so in its name."""
    return values[METRIC] if METRIC in values else values[f"{METRIC}/all"]


def common_target(curves: Sequence[Curve], share: float) -> float:
    """A share of the median of the best values (of the lower one of two): most trainings reach it.

    One that is far behind the others would make a target of the lowest value one that says nothing about them.
    """
    return share * statistics.median_low(curve.best for curve in curves)
