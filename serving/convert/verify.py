"""Compare a converted model with the exported one, on golden requests and on the test users.

A converted model passes if all of this holds; a NaN fails every check:
- golden requests: equal items, except where scores tie within the tolerance of the precision (fp32, fp16, bf16);
- test users: NDCG and Recall lose at most the allowed loss of the precision plus one standard error of the difference
  (with few users, one user can change a metric by more than the allowed loss);
- a TF-TRT model holds TensorRT engines, and they compute every request (otherwise TensorFlow raises an error);
- every answer has its full length, no item twice, and no item of the request's history;
- golden requests: the answers are the best of the scores of all items, where the model gives those.

The test users come from the data set of the run. Where it is not to be had (--data names it), a model passes by its
golden requests alone, and verify.json says so; of int8, 90 % of their items have to be the exported model's.

python -m serving verify --export runs/first --model onnx-fp16
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving import targets
from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.convert.options import VERIFY_HELP
from serving.data_set import DATA_HELP, MissingDataError
from serving.engines import providers
from serving.engines.blocks import BLOCK, in_blocks
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.engines.outputs import ALL_SCORES, RANKED
from serving.engines.savedmodel import SavedModelEngine
from serving.export_folder import Arrays, ExportFolder, Rows, digest, open_export
from serving.progress import step
from serving.targets import PROVIDERS, Artifact

SCORE_TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": None}
"""Precision -> tolerance relative to max(1, |score|); None: only the ranking metrics are compared."""
ALLOWED_LOSS = {"fp32": 1e-4, "fp16": 1e-3, "bf16": 2e-3, "int8": 5e-3}
"""Precision -> allowed loss of each ranking metric, absolute."""
METRICS = (("ndcg", 100), ("recall", 20))
LEAST_IN_COMMON = 0.9
"""Share of the golden answers' items that an int8 model must have where no test users are to be had."""


def metrics_by_user(items: npt.NDArray[np.int32], relevant: Rows) -> dict[str, npt.NDArray[np.float64]]:
    """NDCG@100 and Recall@20 of each user with a relevant item (Liang et al. 2018; ideal over min(K, relevant)).

    Args:
        items: [U, K] recommended items, best first.
        relevant: [U] the items that should be found.
    """
    hits = np.zeros(items.shape, bool)
    for k, row in enumerate(items):
        hits[k] = np.isin(row, relevant.row(k))
    counts = relevant.lengths
    measured = counts > 0
    values = {}
    for name, cut in METRICS:
        k = min(cut, items.shape[1])
        weights = 1.0 / np.log2(np.arange(k) + 2.0) if name == "ndcg" else np.ones(k)
        ideal = np.concatenate([[0.0], np.cumsum(weights)])[np.minimum(counts, k)]
        values[f"{name}@{k}"] = (hits[:, :k] * weights).sum(axis=1)[measured] / ideal[measured]
    return values


def ranking_metrics(items: npt.NDArray[np.int32], relevant: Rows) -> dict[str, float]:
    """Means of `metrics_by_user`."""
    return {name: float(values.mean()) for name, values in metrics_by_user(items, relevant).items()}


def metric_losses(
    exported: npt.NDArray[np.int32], converted: npt.NDArray[np.int32], relevant: Rows, allowed: float
) -> dict[str, dict[str, float]]:
    """Each metric of the exported and of the converted model, their difference, and the difference's standard error.

    Args:
        exported: [U, K] items of the exported model.
        converted: [U, K] items of the converted model.
    """
    before, after = metrics_by_user(exported, relevant), metrics_by_user(converted, relevant)
    losses = {}
    for name in before:
        loss = before[name] - after[name]
        error = float(loss.std(ddof=1) / np.sqrt(len(loss))) if len(loss) > 1 else 0.0
        values = (before[name].mean(), after[name].mean(), loss.mean(), error, allowed)
        losses[name] = dict(
            zip(("exported", "converted", "loss", "standard_error", "allowed"), map(float, values), strict=True)
        )
    return losses


def malformed_reason(inputs: Arrays, answers: Arrays, n_items: int, top_k: int) -> str | None:
    """Why the answers of any model would be wrong in this form; None if the form is right."""
    items, scores = answers["items"], answers["scores"]
    rows = len(inputs["item_ids"])
    if items.shape != (rows, top_k) or scores.shape != (rows, top_k):
        return f"answers are {items.shape} and {scores.shape}, expected {(rows, top_k)}"
    if np.isnan(scores).any():
        return f"{int(np.isnan(scores).sum())} scores are NaN"
    if (scores[:, 1:] > scores[:, :-1]).any():  # a difference of two empty places, -inf, would be NaN
        return "scores do not fall"
    if items.min() < -1 or items.max() >= n_items:
        return f"items from {items.min()} to {items.max()}, expected -1 to {n_items - 1}"
    for row, seen in zip(items, inputs["item_ids"], strict=True):
        recommended = row[row >= 0]
        if len(np.unique(recommended)) < len(recommended):
            return "an item is recommended twice"
        if np.isin(recommended, seen).any():
            return "an item is recommended that was seen"
    return None


def compare_answers(expected: Arrays, answers: Arrays, tolerance: float | None) -> dict[str, Any]:
    """Number of equal rows, of rows that are equal except for ties, and the greatest difference of scores."""
    from recsys_core.rankings import answers_agree

    equal = (expected["items"] == answers["items"]).all(axis=1)
    finite = np.isfinite(expected["scores"]) & np.isfinite(answers["scores"])
    gaps = np.zeros_like(expected["scores"])
    np.subtract(expected["scores"], answers["scores"], where=finite, out=gaps)
    common = [len(np.intersect1d(a, b)) / len(a) for a, b in zip(expected["items"], answers["items"], strict=True)]
    equal_except_ties = None
    if tolerance is not None:
        pairs = zip(expected["items"], expected["scores"], answers["items"], answers["scores"], strict=True)
        equal_except_ties = sum(
            answers_agree(
                {"items": a[None], "scores": s[None]}, {"items": b[None], "scores": t[None]}, tolerance=tolerance
            )
            for a, s, b, t in pairs
        )
    return {
        "rows": len(equal),
        "rows_equal": int(equal.sum()),
        "rows_equal_but_for_ties": equal_except_ties,
        "items_in_common": float(np.mean(common)),
        "greatest_score_difference": float(np.abs(gaps).max(initial=0.0)),
    }


def missing_engines_reason(artifact: Artifact, engine: Engine) -> str | None:
    """Why a TF-TRT model has nothing of TensorRT in it; None if it has, and for other formats."""
    if artifact.target.format != "tf-trt" or not isinstance(engine, SavedModelEngine) or engine.count("TRTEngineOp"):
        return None
    return "no part of it is a TensorRT engine: TensorFlow computes all of it"


def check_users(users: int) -> None:
    """Raise ValueError unless the number of test users is at least 1."""
    if users < 1:
        raise ValueError(f"--users is {users}, expected 1 or more")


def _test_requests(export: ExportFolder, history_limit: int | None, users: int) -> tuple[Arrays, Rows]:
    """Inputs and relevant items of the first test users whose history is within the limit."""
    held_out = export.held_out_users("test")
    rows = np.flatnonzero(held_out.fold_in.lengths <= (history_limit or np.iinfo(np.int64).max))[:users]
    if not len(rows):
        raise ValueError(f"no test user has a history of at most {history_limit} items, which is the engine's limit")
    assert held_out.fold_out is not None
    relevant = [held_out.fold_out.row(int(k)) for k in rows]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in relevant])]).astype(np.int64)
    return held_out.requests(rows, export.n_items), Rows(indptr=indptr, item_ids=np.concatenate(relevant))


def _ranks_all(answers: Arrays, n_items: int) -> bool:
    """Whether the items and scores [B, K] of an engine are the best of its own all_scores [B, I]."""
    from recsys_core.rankings import all_scores_agree

    scores, ranked = answers[ALL_SCORES], answers["scores"]
    if scores.shape != (len(ranked), n_items) or not all_scores_agree(scores, answers):
        return False
    return bool((-np.sort(-scores, axis=1)[:, : ranked.shape[1]] == ranked).all())


def _golden(export: ExportFolder, signature: str, history_limit: int | None) -> tuple[Arrays, Arrays]:
    """The golden requests whose history is within the limit, and their answers."""
    requests, expected = export.golden(signature)
    lengths = (requests["item_ids"] != export.n_items).sum(axis=1)
    rows = np.flatnonzero(lengths <= (history_limit or np.iinfo(np.int64).max))
    return {n: v[rows] for n, v in requests.items()}, {n: v[rows] for n, v in expected.items()}


def _verify_golden(
    export: ExportFolder, artifact: Artifact, engine: Engine, tolerance: float | None
) -> tuple[str | None, dict[str, Any]]:
    """Why the golden answers fail (None if they pass), and the comparison."""
    signature, limits = artifact.target.signature, artifact.limits
    requests, expected = _golden(export, signature, artifact.history_limit(export.history_limit(signature)))
    if not len(requests["item_ids"]):
        return f"no golden request has a history of at most {limits.history} items, which is the engine's limit", {}
    has_all = ALL_SCORES in engine.outputs
    wanted = (*RANKED, ALL_SCORES) if has_all else RANKED
    answers = in_blocks(engine, requests, export.n_items, artifact.largest_batch(BLOCK), wanted)
    if (reason := malformed_reason(requests, answers, export.n_items, export.top_k)) is not None:
        return reason, {}
    compared = compare_answers(expected, answers, tolerance)
    if tolerance is not None and compared["rows_equal_but_for_ties"] < compared["rows"]:
        count = compared["rows"] - compared["rows_equal_but_for_ties"]
        return f"{count} of {compared['rows']} golden answers differ by more than {tolerance:g}", compared
    if has_all and not _ranks_all(answers, export.n_items):
        return "its scores of all items are not those of its answers", compared
    return None, compared


def _verify_test_users(
    export: ExportFolder, artifact: Artifact, engine: Engine, users: int
) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """Why the answers for the test users fail (None if they pass), the metrics, and the comparison of the answers.

    Raises:
        MissingDataError: there are no test users.
    """
    target, padding = artifact.target, export.n_items
    tolerance, allowed = SCORE_TOLERANCE[target.precision], ALLOWED_LOSS[target.precision]
    history_limit = artifact.history_limit(export.history_limit(target.signature))
    inputs, relevant = _test_requests(export, history_limit, users)
    step(f"{target.name}: verifying with {len(relevant):,} test users")
    expected = in_blocks(reference_engine(export, target.signature), inputs, padding)
    answers = in_blocks(engine, inputs, padding, artifact.largest_batch(BLOCK))
    reason = malformed_reason(inputs, answers, export.n_items, export.top_k)
    metrics = metric_losses(expected["items"], answers["items"], relevant, allowed)
    test = compare_answers(expected, answers, tolerance)
    lost = [  # `not ... <=`, so that a NaN counts as lost
        f"{n} loses {m['loss']:.4f}" for n, m in metrics.items() if not m["loss"] - m["standard_error"] <= allowed
    ]
    return reason or (f"{', '.join(lost)}, allowed are {allowed:g}" if lost else None), metrics, test


def verify(
    export: ExportFolder, artifact: Artifact, engine: Engine, *, users: int, provider: str | None = None
) -> dict[str, Any]:
    """Compare a converted model with the exported one.

    Args:
        engine: runs the converted model.
        users: largest number of test users.
        provider: of the engine, for the record; None for the first of the format.

    Returns:
        The content of verify.json: "passed", "why" it failed, and the numbers that were compared.
    """
    target = artifact.target
    tolerance = SCORE_TOLERANCE[target.precision]
    step(f"{target.name}: verifying with the golden requests")
    golden: dict[str, Any] = {}
    reason = missing_engines_reason(artifact, engine)
    if reason is None:
        reason, golden = _verify_golden(export, artifact, engine, tolerance)
    metrics: dict[str, Any] = {}
    test: dict[str, Any] = {}
    not_compared = None
    if reason is None:
        try:
            reason, metrics, test = _verify_test_users(export, artifact, engine, users)
        except MissingDataError as error:
            not_compared = str(error)
            if tolerance is None and not golden["items_in_common"] >= LEAST_IN_COMMON:
                reason = f"{100 * golden['items_in_common']:.1f} % of the golden items are the exported model's"
    return {
        "variant": target.name,
        "provider": provider or PROVIDERS[target.format][0],
        "signature": target.signature,
        "passed": reason is None,
        "why": reason,
        "score_tolerance": tolerance,
        "golden": golden,
        "test": test,
        "metrics": metrics,
        "metrics_not_compared": not_compared,
        "export": export.identity,
        "model_sha256": digest(artifact.model),
        "verified_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def verify_and_record(export: ExportFolder, artifact: Artifact, *, users: int, provider: str) -> dict[str, Any]:
    """Verify with a provider and write verify.json (see `Artifact.verification_file`); returns its content."""
    first = provider == PROVIDERS[artifact.target.format][0]
    step(f"{artifact.target.name}: loading the converted model{'' if first else f' for {provider}'}")
    result = verify(export, artifact, open_engine(artifact, provider=provider), users=users, provider=provider)
    (artifact.folder / artifact.verification_file(provider)).write_text(json.dumps(result, indent=2) + "\n")
    return result


def summary(result: dict[str, Any]) -> str:
    """One line with the result of a verification."""
    provider = result.get("provider")  # earlier versions wrote none
    first = provider in (None, PROVIDERS[targets.parse_target(result["variant"]).format][0])
    name = result["variant"] if first else f"{result['variant']} ({provider})"
    golden, test = result["golden"], result["test"]
    verdict = "verified" if result["passed"] else f"FAILED: {result['why']}"
    if not golden or not test:
        alone = result.get("metrics_not_compared")
        return f"{name}: {verdict}" + (
            f", by golden requests alone: metrics were not compared ({alone})" if alone else ""
        )
    metrics = ", ".join(
        f"{n} {m['converted']:.4f} (exported {m['exported']:.4f})" for n, m in result["metrics"].items()
    )
    equal = golden["rows_equal"] + test["rows_equal"]
    return (
        f"{name}: {verdict}; {100 * test['items_in_common']:.2f} % of its items are the exported model's, "
        f"{equal} of {golden['rows'] + test['rows']} lists are identical; {metrics}"
    )


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    parser.add_argument("--model", default="onnx-fp32", help="FORMAT-PRECISION (default: %(default)s)")
    parser.add_rare("--models", type=Path, help=MODELS_HELP)
    parser.add_rare("--data", metavar="D", type=Path, help=DATA_HELP)
    parser.add_rare("--provider", choices=providers.CHOICES, default=providers.AUTO, help=VERIFY_HELP)
    parser.add_rare("--users", type=int, default=10_000, help="largest number of test users (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """0 if the model passed, 1 if not."""
    check_users(args.users)
    export = open_export(args.export, args.data)
    artifact = targets.artifact(args.models or targets.default_folder(export.folder), args.model)
    artifact.require_model()
    results = []
    for provider in providers.to_verify(artifact, args.provider):
        results.append(verify_and_record(export, artifact, users=args.users, provider=provider))
        print(summary(results[-1]))
    return 0 if all(result["passed"] for result in results) else 1
