"""A model of the sum over ranks: latency and bandwidth of a ring, fitted to measurements or to published speeds.

A ring of n ranks sends 2 (n - 1) messages, each of the bytes over n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.shapes import HIDDEN, LATENT

A100_USERS_PER_SECOND = (354_032, 1_660_700)
"""Published for VAE-CF on ML-20M in TF32: one A100 with batch 24,576, eight with 3,072 each."""
A100_BATCH = 24_576
ML20M_ITEMS = 20_108
GPUS = (1, 8, 16, 64, 256, 1_024)


@dataclass(frozen=True)
class Link:
    """Latency and bandwidth of the connection between ranks."""

    latency: float
    """Seconds of a message."""
    bandwidth: float
    """Bytes/s."""

    def seconds(self, ranks: int, size: float) -> float:
        """Of a ring sum of `size` bytes (Thakur et al. 2005, section 4.4: without the term of the addition)."""
        return 2 * (ranks - 1) * (self.latency + size / ranks / self.bandwidth)


def fitted(ranks: int, sizes: Sequence[float], seconds: Sequence[float]) -> Link:
    """The link with the least relative error over measured sums."""
    # seconds = a + b * size, with rows divided by the measured time; two positive unknowns.
    from scipy.optimize import nnls

    measured = np.asarray(seconds)
    table = np.stack([np.ones(len(sizes)), np.asarray(sizes, float)], axis=1) / measured[:, None]
    (constant, slope), _ = nnls(table, np.ones(len(sizes)))
    messages = 2 * (ranks - 1)
    return Link(constant / messages, messages / ranks / slope if slope else float("inf"))


def from_published(gradient_bytes: float, latency: float) -> Link:
    """The link that explains the published speeds of one and eight A100, at a given latency and with nothing hidden."""
    one, eight = A100_USERS_PER_SECOND
    compute = A100_BATCH / 8 / one
    exchange = A100_BATCH / eight - compute
    return Link(latency, gradient_bytes / 8 / (exchange / 14 - latency))


def predicted(compute: float, link: Link, ranks: int, size: float, hidden: float = 0.0) -> float:
    """Seconds of a step: its compute, and the exchange less the part that compute hides.

    Args:
        compute: seconds of a step on one rank with that rank's batch.
        hidden: share of the exchange that runs at the same time as compute.
    """
    return compute + (1 - hidden) * link.seconds(ranks, size)


def gpu_prediction(latency: float) -> list[dict[str, float]]:
    """Users/s of VAE-CF on many A100, from two published points: strong (batch 24,576) and weak (24,576 each)."""
    size = 4 * (2 * HIDDEN * ML20M_ITEMS + 3 * HIDDEN * LATENT)
    link = from_published(size, latency)
    rows = []
    for n in GPUS:
        strong = A100_BATCH / predicted(A100_BATCH / n / A100_USERS_PER_SECOND[0], link, n, size)
        weak = n * A100_BATCH / predicted(A100_BATCH / A100_USERS_PER_SECOND[0], link, n, size)
        rows.append({"gpus": n, "strong": strong, "weak": weak, "bandwidth_gb": link.bandwidth / 1e9})
    return rows
