"""Verification: a converted model against the exported one, on golden requests and on the test users.

Three things must hold, and not one number may be NaN:
- golden requests: the same items, but where scores tie within the tolerance of the precision (fp32, fp16, bf16);
- the test users' NDCG and Recall lose at most what the precision is allowed to, and a standard error (with few users a
  single one decides);
- every answer has its full length, no item twice, none that was seen.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving import targets as variants
from serving.engines.engine import Runner, in_blocks, open_runner, reference_runner
from serving.export_folder import Arrays, ExportFolder, Rows, digest, open_export
from serving.targets import Converted

SCORE_TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": None}
"""Relative to max(1, |score|); None: scores are not compared, rankings are."""
ALLOWED_LOSS = {"fp32": 1e-4, "fp16": 1e-3, "bf16": 2e-3, "int8": 5e-3}
"""Of each ranking metric, absolute."""
METRICS = (("ndcg", 100), ("recall", 20))


def by_user(items: npt.NDArray[np.int32], wanted: Rows) -> dict[str, npt.NDArray[np.float64]]:
    """NDCG@100 and Recall@20 (Liang et al. 2018: ideal and divisor over min(K, relevant)) of users with any wanted.

    Args:
        items: [S, K] recommended, best first.
        wanted: [S] what was to be found.
    """
    found = np.zeros(items.shape, bool)
    for k, row in enumerate(items):
        found[k] = np.isin(row, wanted.row(k))
    counts = wanted.lengths
    measured = counts > 0
    values = {}
    for name, cut in METRICS:
        k = min(cut, items.shape[1])
        weights = 1.0 / np.log2(np.arange(k) + 2.0) if name == "ndcg" else np.ones(k)
        ideal = np.concatenate([[0.0], np.cumsum(weights)])[np.minimum(counts, k)]
        values[f"{name}@{k}"] = (found[:, :k] * weights).sum(axis=1)[measured] / ideal[measured]
    return values


def ranking_metrics(items: npt.NDArray[np.int32], wanted: Rows) -> dict[str, float]:
    """Means of `by_user`."""
    return {name: float(values.mean()) for name, values in by_user(items, wanted).items()}


def losses(
    ours: npt.NDArray[np.int32], theirs: npt.NDArray[np.int32], wanted: Rows, allowed: float
) -> dict[str, dict[str, float]]:
    """What each metric loses from one [S, K] ranking to another, with the standard error of that difference."""
    before, after = by_user(ours, wanted), by_user(theirs, wanted)
    found = {}
    for name in before:
        gap = before[name] - after[name]
        error = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0
        values = (before[name].mean(), after[name].mean(), gap.mean(), error, allowed)
        found[name] = dict(
            zip(("exported", "converted", "loss", "standard_error", "allowed"), map(float, values), strict=True)
        )
    return found


def malformed(inputs: Arrays, answers: Arrays, n_items: int, top_k: int) -> str | None:
    """What is wrong with answers whatever the model thinks, or None."""
    items, scores = answers["items"], answers["scores"]
    rows = len(inputs["item_ids"])
    if items.shape != (rows, top_k) or scores.shape != (rows, top_k):
        return f"answers are {items.shape} and {scores.shape}, expected {(rows, top_k)}"
    if np.isnan(scores).any():
        return f"{int(np.isnan(scores).sum())} scores are NaN"
    if (np.diff(scores.astype(np.float64), axis=1) > 0).any():
        return "scores do not fall"
    if items.min() < -1 or items.max() >= n_items:
        return f"items from {items.min()} to {items.max()}, expected -1 to {n_items - 1}"
    for row, seen in zip(items, inputs["item_ids"], strict=True):
        real = row[row >= 0]
        if len(np.unique(real)) < len(real):
            return "an item is recommended twice"
        if np.isin(real, seen).any():
            return "an item is recommended that was seen"
    return None


def difference(want: Arrays, have: Arrays, tolerance: float | None) -> dict[str, Any]:
    """How two rankings differ: rows that are equal, rows equal but for ties, greatest difference of scores."""
    from recsys_core.rankings import answers_agree

    same = (want["items"] == have["items"]).all(axis=1)
    real = np.isfinite(want["scores"]) & np.isfinite(have["scores"])
    gaps = np.abs(want["scores"] - have["scores"], where=real, out=np.zeros_like(want["scores"]))
    common = [len(np.intersect1d(a, b)) / len(a) for a, b in zip(want["items"], have["items"], strict=True)]
    agree = None
    if tolerance is not None:
        pairs = zip(want["items"], want["scores"], have["items"], have["scores"], strict=True)
        agree = sum(
            answers_agree(
                {"items": a[None], "scores": s[None]}, {"items": b[None], "scores": t[None]}, tolerance=tolerance
            )
            for a, s, b, t in pairs
        )
    return {
        "rows": len(same),
        "rows_equal": int(same.sum()),
        "rows_equal_but_for_ties": agree,
        "items_in_common": float(np.mean(common)),
        "greatest_score_difference": float(gaps.max(initial=0.0)),
    }


def check_users(users: int) -> None:
    """Raise ValueError for a number of users that nothing can be measured with."""
    if users < 1:
        raise ValueError(f"--users is {users}, expected 1 or more")


def _test_requests(export: ExportFolder, limit: int | None, users: int) -> tuple[Arrays, Rows]:
    """Inputs and wanted items of the test users whose history fits."""
    audience = export.audience("test")
    fits = np.flatnonzero(audience.fold_in.lengths <= (limit or np.iinfo(np.int64).max))[:users]
    assert audience.fold_out is not None
    wanted = [audience.fold_out.row(int(k)) for k in fits]
    indptr = np.concatenate([[0], np.cumsum([len(w) for w in wanted])]).astype(np.int64)
    return audience.requests(fits, export.n_items), Rows(indptr=indptr, item_ids=np.concatenate(wanted))


def verify(export: ExportFolder, made: Converted, runner: Runner, *, users: int) -> dict[str, Any]:
    """Compare a converted model with the exported one.

    Args:
        users: test users at most.

    Returns:
        The content of verify.json; "passed", and "why" not.
    """
    variant, padding = made.variant, export.n_items
    tolerance, allowed = SCORE_TOLERANCE[variant.precision], ALLOWED_LOSS[variant.precision]
    requests, expected = export.golden(variant.signature)
    answers = runner(requests)
    why = malformed(requests, answers, export.n_items, export.top_k)
    golden = difference(expected, answers, tolerance) if why is None else {}
    if why is None and tolerance is not None and golden["rows_equal_but_for_ties"] < golden["rows"]:
        differ = golden["rows"] - golden["rows_equal_but_for_ties"]
        why = f"{differ} of {golden['rows']} golden answers differ by more than {tolerance:g}"
    metrics, test = {}, {}
    if why is None:
        inputs, wanted = _test_requests(export, export.history_limit(variant.signature), users)
        ours = in_blocks(reference_runner(export, variant.signature), inputs, padding)
        theirs = in_blocks(runner, inputs, padding)
        why = malformed(inputs, theirs, export.n_items, export.top_k)
        metrics = losses(ours["items"], theirs["items"], wanted, allowed)
        test = difference(ours, theirs, tolerance)
        lost = [
            f"{n} loses {m['loss']:.4f}" for n, m in metrics.items() if not m["loss"] - m["standard_error"] <= allowed
        ]
        why = why or (f"{', '.join(lost)}, allowed are {allowed:g}" if lost else None)
    return {
        "variant": variant.name,
        "signature": variant.signature,
        "passed": why is None,
        "why": why,
        "score_tolerance": tolerance,
        "golden": golden,
        "test": test,
        "metrics": metrics,
        "export": export.identity,
        "model_sha256": digest(made.model),
        "verified_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def record(export: ExportFolder, made: Converted, *, users: int) -> dict[str, Any]:
    """Verify and write verify.json."""
    result = verify(export, made, open_runner(made), users=users)
    (made.folder / "verify.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def line(result: dict[str, Any]) -> str:
    """One line about a verification."""
    golden, test = result["golden"], result["test"]
    verdict = "verified" if result["passed"] else f"FAILED: {result['why']}"
    if not golden or not test:
        return f"{result['variant']}: {verdict}"
    shown = "  ".join(f"{n} {m['converted']:.4f} ({-m['loss']:+.4f})" for n, m in result["metrics"].items())
    return (
        f"{result['variant']}: {verdict}; golden {golden['rows_equal']} of {golden['rows']} equal, test users "
        f"{test['rows_equal']} of {test['rows']} equal, {100 * test['items_in_common']:.2f} % of items; {shown}"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", type=Path, required=True, help="RUN_DIR/export")
    parser.add_argument("--models", type=Path, help="folder of the conversions (default: converted/ beside the export)")
    parser.add_argument("--model", default="onnx-fp32", help="FORMAT-PRECISION (default: %(default)s)")
    parser.add_argument("--users", type=int, default=10_000, help="test users at most (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """0 verified, 1 not."""
    check_users(args.users)
    export = open_export(args.export)
    made = variants.converted(args.models or variants.default_folder(args.export), args.model)
    result = record(export, made, users=args.users)
    print(line(result))
    return 0 if result["passed"] else 1
