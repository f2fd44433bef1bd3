"""Units of the figures of committed records, and what each figure is. A record carries both (`fields`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from recsys_core.measuring.records import CIRCUMSTANCES, RESULT_FIELDS

ABOUT = (*CIRCUMSTANCES, "name", "kind", "fields", "data", "transcribed", "note")
"""Fields of a record that are no figures."""
SHARE = "mean over users, 0 to 1"
FIELDS: tuple[tuple[str, str, str], ...] = (
    (r"validation(_\w+)?\.(ndcg|recall|hr|map|mrr)@\d+(/\w+)?", SHARE, "metric of the validation users"),
    (r"target|best_validation|curve", SHARE, "NDCG@100 of the validation users"),
    (r"curve_s", "s", "time of each evaluation"),
    (r"(ndcg|recall|hr|map|mrr|precision)@\d+(/\w+)?", SHARE, "metric of the test users"),
    (r"less_\w+\.(ndcg|recall|hr|map|mrr)@\d+(/\w+)?", SHARE, "metric less that of another model, of the same users"),
    (r"(users|samples|examples)_per_second", "examples/s", "speed of training or ranking"),
    (r"(peer|engine|limit)_(users_|samples_|examples_)?per_second", "examples/s", "speed of what stands beside it"),
    (r"(peer|engine)_examples_per_second|(engine|limit)_(users|samples)_per_second", "examples/s", "speed beside it"),
    (r"share_of_\w+", "ratio", "speed over the speed of the limit, or of the engine alone"),
    (r"ratio|overall|strong|weak", "ratio", "speed over another speed, round by round"),
    (r"peak_gib|peer_peak_gib|.*_gib", "GiB", "largest resident memory"),
    (r"MiB|.*_mib", "MiB", "size of the model's files, or private memory"),
    (r"ms|.*_ms(_theory)?", "ms", "time"),
    (r"wall_s|seconds|fit_seconds|.*_seconds|.*_s", "s", "time"),
    (r"(step|compute|exposed_communication|input|exchange_alone|predicted)", "s", "time of a step, or a part of it"),
    (r"gemm_gflops", "GFLOP/s", "rate of matrix products"),
    (r"memory_gb_per_second", "GB/s", "rate of memory"),
    (r"operations_per_byte|ridge", "FLOP/B", "operations for each byte of traffic"),
    (r"operations|bytes", "count", "operations or bytes of an example"),
    (r"items_in_common|share_\w+|load", "ratio", "share of a whole"),
    (r".*_qps|rate_qps|capacity\w*", "queries/s", "rate of queries"),
    (r"trials|pruned|users|new_users|new_items|.*_count|runs|rows_equal_but_for_ties|batches", "count", "number"),
    (r"n_items|mean_history|published_step|epoch_time_share|items|block_size", "count", "number"),
    (r"answered|unanswered|errors|late_sends|outstanding|queries|timeouts", "count", "queries"),
    (r"(\w+_)?(discarded|invalid)_windows", "count", "windows that do not count, because their sends were late"),
    (r"recorded_ratio", "ratio", "speed over the speed of the limit, of the recorded runs"),
    (r"change", "ratio", "speed of the new runs over that of the recorded ones"),
    (r"noise|bound", "ratio", "noise of a run, and the slowdown that counts, as shares of the time"),
    (r"(\w+_)?rate", "1/s", "rate of queries, or of items where the name says so"),
    (r"gain|speed_up|over_peer|level|\w+_share", "ratio", "a rate over another, or a share of a whole"),
    (r"best_split|best_offload_above", "items", "size above which a query is divided or sent elsewhere"),
    (r"passed|skipped|failed|failed_tests|kernels|best_step", "count", "tests, kernels or steps"),
    (r"greatest_score_difference", "score", "largest difference of a score to TensorFlow's"),
    (r"largest_\w+_difference", "ratio", "largest difference to the run that was never stopped"),
    (r"steps_lost", "steps", "steps that are taken again: median, and the most"),
    (r"losses", "loss", "loss of each step"),
    (r"ndcg", SHARE, "NDCG of the test users"),
)
"""(pattern of a field's name, unit, what it is)."""
OF_KIND: Mapping[tuple[str, str], tuple[str, str]] = {
    ("speedup", "step"): ("ratio", "speed over that of the rung before")
}
"""(kind of record, field) -> unit and what it is, where the same name is another figure elsewhere."""


def figure_names(values: Mapping[str, Any]) -> list[str]:
    """Names of the fields of a record that are figures: decimal numbers, lists and intervals; no words or settings."""
    return [
        name
        for name, value in values.items()
        if name not in ABOUT
        and not isinstance(value, str | bool)
        and value not in (None, [])
        and (not isinstance(value, int) or name in RESULT_FIELDS)
        and (not isinstance(value, Mapping) or {"mean", "value", "low"} & set(value))
        and (not isinstance(value, list) or all(isinstance(v, int | float | None) for v in value))
    ]


def described(values: Mapping[str, Any], decimals: Mapping[str, int] | None = None) -> dict[str, dict[str, Any]]:
    """Figure -> its unit and what it is, for the field `fields` of a record.

    Args:
        decimals: figure -> the most decimals that are known of it.

    Raises:
        ValueError: a figure whose unit is not known.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in figure_names(values):
        match = OF_KIND.get((str(values.get("kind")), name)) or next(
            ((unit, text) for pattern, unit, text in FIELDS if re.fullmatch(pattern, name)), None
        )
        if match is None:
            raise ValueError(
                f"no unit is known of {name!r} of a record of {values.get('kind')}, expected one in FIELDS"
            )
        found[name] = {"unit": match[0], "is": match[1]}
        if decimals and name in decimals:
            found[name]["decimals"] = decimals[name]
    return found
