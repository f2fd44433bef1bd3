"""What the fields of records mean: which are figures, which way is better, and what is known of their noise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Noise = Literal["windows", "interval", "none"]
"""windows: a list of repeated measurements; interval: [value, low, high]; none: the same each time it is measured."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """How a figure is compared."""

    more_is_better: bool
    noise: Noise = "windows"


MORE, LESS = Figure(more_is_better=True), Figure(more_is_better=False)
_LATENCY = Figure(more_is_better=False, noise="interval")
_KINDS: tuple[tuple[str, Figure | None], ...] = (
    (
        r"(limit_\w+_per_second|memory_gb_per_second|gemm_gflops|link_\w+|offered_rate|duration_s)",
        None,
    ),
    (r"peer_\w+", None),
    (r"(limit_per_second|recorded_ratio|change|noise)", None),  # of `benchmarks check`
    (r"(mean|p50|p90|p95|p99|p999)(_of_all)?_(s|ms|us)", _LATENCY),
    (
        r"(\w+_per_second|share_of_limit|ratio|strong|weak|over_peer|gain|step_gain|rate|capacity|completed_\w*rate)",
        MORE,
    ),
    (r"(ndcg|recall|precision|hr|map|mrr|auc)(@\d+)?(/\w+)?", Figure(more_is_better=True, noise="none")),
    (r"MiB", Figure(more_is_better=False, noise="none")),
    (r"(\w+_(s|ms|us|seconds|gib|bytes)|step|compute|input|exposed_communication|exchange_alone)", LESS),
)
"""(pattern of the whole name, its figure); None: a limit of the machine, a peer's figure or what was asked for. The
first that fits counts."""
_OF_KIND = {("speedup", "step"): MORE, ("speedup", "overall"): MORE}
"""(kind of record, name) -> the figure, where the name means something else in other kinds."""


def figure(kind: str, name: str) -> Figure | None:
    """How a field of a kind of record is compared; None for a field that is not compared."""
    if (kind, name) in _OF_KIND:
        return _OF_KIND[kind, name]
    return next((found for pattern, found in _KINDS if re.fullmatch(pattern, name)), None)


def values_of(kind: str, name: str, value: object) -> list[float] | None:
    """The numbers of a field as its figure has them: windows, [value, low, high], or one number.

    None where the field is no figure, or was not stated.
    """
    found = figure(kind, name)
    if found is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(isinstance(v, float) for v in numbers if v is not None):
        return None
    if found.noise == "interval" and len(numbers) != 3:
        return None
    return [float("inf") if v is None else float(v) for v in numbers]
