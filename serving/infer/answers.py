"""Golden requests of a given number, and the comparison of their answers with the trained model's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serving.export_folder import Arrays, ExportFolder, Id
from serving.infer.processes import Report

SCORE_TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": 1e-1}
"""Precision -> how far below the best score, relative to max(1, |score|), the score of the predicted item may lie."""
SHOWN_ROWS = 5
"""Rows of each process in the table, without --verbose."""


def golden_batch(export: ExportFolder, signature: str, batch: int) -> tuple[Arrays, Arrays]:
    """A batch of golden requests, repeated if there are fewer, and the answers that the trained model gave to them."""
    inputs, answers = export.golden(signature)
    rows = np.arange(batch) % len(inputs["item_ids"])
    return {k: v[rows] for k, v in inputs.items()}, {k: v[rows] for k, v in answers.items()}


def is_expected(expected: Arrays, predicted: npt.NDArray[np.int32], tolerance: float) -> npt.NDArray[np.bool_]:
    """[B] whether the predicted item is the best item of the trained model, or ties with it in the model's scores.

    Args:
        expected: items and scores [B, K] of the trained model.
        predicted: [B] best item of each request.
    """
    best = expected["scores"][:, 0]
    lowest = best - tolerance * np.maximum(1.0, np.abs(best))
    tied = (expected["items"] == predicted[:, None]) & (expected["scores"] >= lowest[:, None])
    return tied.any(axis=1)


def format_tables(
    reports: Sequence[Report], users: Sequence[Id] | None, item_ids: Sequence[Id], expected: Arrays, verbose: bool
) -> str:
    """The table of expected and predicted items, with original ids, and the table of durations.

    Args:
        users: [B] original ids; None where the model takes no users: the requests are numbered instead.
        item_ids: [I] original ids of the items.
    """
    from tabulate import tabulate

    def original(index: int) -> str:
        return str(item_ids[index]) if 0 <= index < len(item_ids) else f"none ({index})"

    names = users if users is not None else range(len(expected["items"]))
    rows, shown = [], []
    for report in reports:
        own = [
            (str(report.process), str(name), original(int(item)), original(int(predicted)))
            for name, item, predicted in zip(names, expected["items"][:, 0], report.predicted, strict=True)
        ]
        rows += own
        shown += own if verbose else own[:SHOWN_ROWS]
    headers = ("process", "request" if users is None else "user", "expected item", "predicted item")
    parts = [tabulate(shown, headers=headers, disable_numparse=True, stralign="right")]
    if len(shown) < len(rows):
        parts.append(f"... {len(rows) - len(shown)} more rows with --verbose")
    durations = [
        (r.process, *(f"{1e3 * v:.3f}" for v in (r.seconds.mean(), *np.percentile(r.seconds, (50, 95, 99)))))
        for r in reports
    ]
    parts.append(tabulate(durations, headers=("process", "mean ms", "p50 ms", "p95 ms", "p99 ms")))
    return "\n\n".join(parts)
