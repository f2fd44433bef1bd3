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
H100_USERS_PER_SECOND = {500: 110_600, 2_000: 301_300, 8_192: 490_400, 24_576: 556_000}
"""Measured by batch for the step of an earlier version in bf16 on one H100 (docs/gpu.md)."""
ML20M_ITEMS = 20_108
ML20M_GRADIENT_BYTES = 4 * (2 * HIDDEN * ML20M_ITEMS + 3 * HIDDEN * LATENT)
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


@dataclass(frozen=True)
class Wires:
    """Sums over hosts whose wires have a known speed: what of their time is the wire's, and what the hosts'."""

    latency: float
    """Seconds of a message."""
    host: float
    """Seconds a byte that do not depend on the wire: copies and additions."""
    wire: float
    """Bytes sent over the wire for each byte of the sum's messages: 1 and its overhead."""

    def link(self, speed: float) -> Link:
        """The link over a wire of `speed` bytes/s; infinity: a wire that takes no time."""
        seconds = self.host + self.wire / speed
        return Link(self.latency, 1 / seconds if seconds else float("inf"))


def fitted_wires(ranks: int, points: Sequence[tuple[float, float, float]]) -> Wires:
    """The wires with the least relative error over measured sums; every byte goes over the wire at least once.

    Args:
        points: speed of the wire in bytes/s, bytes of the sum, and its seconds.
    """
    from scipy.optimize import nnls

    messages = 2 * (ranks - 1)
    rows = [(1.0, size / ranks, size / ranks / speed) for speed, size, _ in points]
    measured = np.asarray([seconds for *_, seconds in points])
    scaled = messages * np.asarray(rows) / measured[:, None]
    (latency, host, overhead), _ = nnls(scaled, 1.0 - scaled[:, 2])
    return Wires(float(latency), float(host), 1.0 + float(overhead))


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


def h100_step(batch: float) -> float:
    """Seconds of a step on one H100: straight lines between the measured batches, the first and last line prolonged."""
    sizes = sorted(H100_USERS_PER_SECOND)
    seconds = [size / H100_USERS_PER_SECOND[size] for size in sizes]
    if batch <= sizes[0]:
        first = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
        return seconds[0] + first * (batch - sizes[0])
    if batch >= sizes[-1]:
        last = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
        return seconds[-1] + last * (batch - sizes[-1])
    return float(np.interp(batch, sizes, seconds))


def h100_prediction(link: Link) -> list[dict[str, float]]:
    """Users/s of VAE-CF on many H100, from the measured step of one: strong (batch 24,576) and weak (24,576 each)."""
    largest = max(H100_USERS_PER_SECOND)
    rows = []
    for n in GPUS:
        strong = largest / predicted(h100_step(largest / n), link, n, ML20M_GRADIENT_BYTES)
        weak = n * largest / predicted(h100_step(largest), link, n, ML20M_GRADIENT_BYTES)
        rows.append({"gpus": n, "strong": strong, "weak": weak, "bandwidth_gb": link.bandwidth / 1e9})
    return rows


def gpu_prediction(latency: float) -> list[dict[str, float]]:
    """Users/s of VAE-CF on many A100, from two published points: strong (batch 24,576) and weak (24,576 each)."""
    size = ML20M_GRADIENT_BYTES
    link = from_published(size, latency)
    rows = []
    for n in GPUS:
        strong = A100_BATCH / predicted(A100_BATCH / n / A100_USERS_PER_SECOND[0], link, n, size)
        weak = n * A100_BATCH / predicted(A100_BATCH / A100_USERS_PER_SECOND[0], link, n, size)
        rows.append({"gpus": n, "strong": strong, "weak": weak, "bandwidth_gb": link.bandwidth / 1e9})
    return rows
