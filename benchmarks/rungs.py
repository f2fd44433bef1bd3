"""The rungs of the speed-up ladder, and the factors that NVIDIA's case study published for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

METRIC = "ndcg@100"
CASE_STUDY = {
    "published way": 1.0,
    "sparse": 12.5,
    "large batch": None,
    "tf.data": 1.8,
    "mixed precision": 1.8,
    "Horovod": 3.5,
}
"""Factors over the rung before (4 V100; there sparse batches and large ones were one step)."""
CASE_STUDY_OVERALL = 145.3


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to train the VAE-CF."""

    name: str
    sparse: bool = False
    batch: int = 500
    pipelined: bool = False
    """Batches prepared by `tf.data` ahead of the step, several steps a call; else by Python between single steps."""
    precision: str = "fp32"
    ranks: int = 1
    learning_rate: float = 1e-3


def ladder(batch: int, rate: float, precision: str, ranks: int) -> list[Rung]:
    """The rungs, each the one before with one thing changed."""
    rungs = [Rung(name="published way")]
    rungs.append(replace(rungs[-1], name="sparse", sparse=True))
    rungs.append(replace(rungs[-1], name="large batch", batch=batch, learning_rate=rate))
    rungs.append(replace(rungs[-1], name="tf.data", pipelined=True))
    rungs.append(replace(rungs[-1], name="mixed precision", precision=precision))
    rungs.append(replace(rungs[-1], name="Horovod", ranks=ranks))
    return rungs
