"""The summary of the benchmarks: sentences with the main figures of each kind of record, and what they mean."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.check_rule import SLOWER
from benchmarks.rungs import CASE_STUDY_OVERALL
from recsys_core.measuring.cells import Row, first_of, having, of_windows
from recsys_core.measuring.drawing import median_of
from recsys_core.measuring.report import Summary


def speedup(rows: Sequence[Row]) -> list[str]:
    """The gain of the whole ladder, and the rung with the largest part in it."""
    rows = having(rows, "rung", "users_per_second", "overall", "step")
    if len(rows) < 2:
        return []
    fastest = max(rows, key=lambda row: median_of(row, "overall"))
    largest = max(rows[1:], key=lambda row: median_of(row, "step"))
    return [
        f"the fastest rung ({fastest['rung']['name']}) trains {of_windows(fastest['users_per_second'], ',.0f')} "
        f"users/s, {of_windows(fastest['overall'], '.2f')} times as many as the first ({rows[0]['rung']['name']}).",
        f"the largest gain over the rung before is that of `{largest['rung']['name']}`, "
        f"{of_windows(largest['step'], '.2f')} times. NVIDIA published {CASE_STUDY_OVERALL} times in all, for other "
        "hardware (4 V100).",
    ]


def _setting(row: Row, fields: Sequence[str]) -> str:
    """The fields of a setting as words."""
    return ", ".join(f"batch {row[name]:,}" if name == "batch_size" else str(row[name]) for name in fields)


def _step(rows: Sequence[Row], unit: str, fields: Sequence[str]) -> list[str]:
    """The fastest setting, and how near it is to what the machine allows.

    Args:
        unit: plural name of the examples.
        fields: names of the fields of a setting.
    """
    rows = having(rows, f"{unit}_per_second", *fields)
    if not rows:
        return []
    best = max(rows, key=lambda row: median_of(row, f"{unit}_per_second"))
    text = (
        f"the fastest of {len(rows)} settings ({_setting(best, fields)}) trains "
        f"{of_windows(best[f'{unit}_per_second'], ',.0f')} {unit}/s"
    )
    if not having([best], "share_of_limit", "bound"):
        return [f"{text}."]
    by = {"compute": "matrix products", "memory": "memory"}.get(best["bound"], best["bound"])
    share = f"{text}. That is {of_windows(best['share_of_limit'], '.0%')} of what this machine's {by} would allow"
    is_below = median_of(best, "share_of_limit") < 1
    return [f"{share}; a better program could gain the rest at most." if is_below else f"{share}."]


def train(rows: Sequence[Row]) -> list[str]:
    return _step(rows, "users", ("batch_size", "precision"))


def ncf(rows: Sequence[Row]) -> list[str]:
    return _step(rows, "samples", ("shape", "batch_size", "precision"))


def scaling(rows: Sequence[Row]) -> list[str]:
    """For the most ranks: against one rank with the same batch."""
    rows = having(rows, "strong", "ranks", "batch_size", "exposed_communication", "step")
    if not rows:
        return []
    best = max(rows, key=lambda row: (row["ranks"], median_of(row, "strong")))
    exposed = median_of(best, "exposed_communication") / median_of(best, "step")
    return [
        f"{best['ranks']} ranks train a global batch of {best['batch_size']:,} {of_windows(best['strong'], '.2f')} "
        f"times as fast as one rank ({best['ranks']} would be ideal); {exposed:.0%} of a step is communication that "
        "no computation hides."
    ]


def peers(rows: Sequence[Row]) -> list[str]:
    """The lowest and the highest ratio of rows with the same algorithm on both sides."""
    setting = ("model", "batch_size", "precision", "ours", "peer")
    rows = having(rows, "ratio", "difference", *setting)
    if not rows:
        return []
    rows = [row for row in rows if row["difference"] == "none"]
    if not rows:
        return ["no row has the same algorithm on both sides, so no ratio stands here."]
    low, high = (of(rows, key=lambda row: median_of(row, "ratio")) for of in (min, max))
    texts = [f"{of_windows(row['ratio'], '.2f')} ({_setting(row, setting)})" for row in (low, high)]
    between = texts[0] if len(rows) == 1 else f"between {texts[0]} and {texts[1]}"
    return [f"with the same algorithm on both sides our speed over PyTorch's is {between}; above 1 ours is faster."]


def trainings(rows: Sequence[Row]) -> list[str]:
    """The training that reaches the target first, and that with the best validation value."""
    reached = having(rows, "system", "target", "target_s")
    rows = having(rows, "system", "best_validation")
    if not reached or not rows:
        return []
    first = min(reached, key=lambda row: median_of(row, "target_s"))
    best = max(rows, key=lambda row: median_of(row, "best_validation"))
    return [
        f"of {len(rows)} whole trainings {first['system']} is the first to reach a validation NDCG@100 of "
        f"{first['target']:.4f}, after {of_windows(first['target_s'], ',.0f')} s; the best value is that of "
        f"{best['system']}, {of_windows(best['best_validation'], '.4f')}."
    ]


def evaluate(rows: Sequence[Row]) -> list[str]:
    rows = having(rows, "users_per_second", "share_of_limit", "n_items")
    if not rows:
        return []
    best = max(rows, key=lambda row: median_of(row, "users_per_second"))
    return [
        f"{of_windows(best['users_per_second'], ',.0f')} users/s are ranked over {best['n_items']:,} items, "
        f"{of_windows(best['share_of_limit'], '.0%')} of what the matrix products alone would allow."
    ]


def prep(rows: Sequence[Row]) -> list[str]:
    """Ours beside the published pandas code, for each size."""
    texts = []
    for ours in having([row for row in rows if row.get("way") == "ours"], "wall_s", "input_bytes"):
        text = f"{ours['input_bytes'] / 1e6:,.0f} MB of ratings are prepared in {of_windows(ours['wall_s'], '.1f')} s"
        other = [row for row in rows if row.get("way") == "pandas" and row.get("like") == ours.get("like")]
        if other := having(other, "wall_s"):
            factor = statistics.median(other[-1]["wall_s"]) / statistics.median(ours["wall_s"])
            text += (
                f"; the published pandas code takes {of_windows(other[-1]['wall_s'], '.1f')} s, {factor:.1f} times it"
            )
        texts.append(f"{text}.")
    return texts


def serve(rows: Sequence[Row]) -> list[str]:
    """The shortest time of the smallest batch, and the highest rate."""
    rows = having(rows, "engine", "batch", "p50_ms", "users_per_second")
    if not rows:
        return []
    smallest = min(row["batch"] for row in rows)
    quick = min((row for row in rows if row["batch"] == smallest), key=lambda row: first_of(row["p50_ms"]))
    fastest = max(rows, key=lambda row: median_of(row, "users_per_second"))
    last = f", {first_of(quick['p99_ms']):.2f} ms at the 99th percentile" if quick.get("p99_ms") else ""
    return [
        f"the shortest answer at batch {smallest} is that of {quick['engine']}: {first_of(quick['p50_ms']):.2f} ms in "
        f"the median{last}.",
        f"the highest rate is {median_of(fastest, 'users_per_second'):,.0f} users/s ({fastest['engine']}, batch "
        f"{fastest['batch']:,}).",
    ]


def serve_quality(rows: Sequence[Row]) -> list[str]:
    """The conversion that differs most from the reference, which is the first one."""
    rows = having(rows, "engine", "rows_equal_but_for_ties", "rows", "ndcg@100")
    if len(rows) < 2:
        return []
    worst = min(rows[1:], key=lambda row: row["rows_equal_but_for_ties"])
    return [
        f"of {len(rows) - 1} conversions {worst['engine']} differs most from {rows[0]['engine']}: "
        f"{worst['rows_equal_but_for_ties']:,} of {worst['rows']:,} lists are the same but for ties, and NDCG@100 is "
        f"{worst['ndcg@100'] - rows[0]['ndcg@100']:+.4f}."
    ]


def batch(rows: Sequence[Row]) -> list[str]:
    """The fastest model, and its share of the limit."""
    rows = having(rows, "users_per_second", "share_of_limit", "model", "n_items")
    if not rows:
        return []
    best = max(rows, key=lambda row: median_of(row, "users_per_second"))
    return [
        f"{of_windows(best['users_per_second'], ',.0f')} users/s get recommendations of {best['n_items']:,} items "
        f"({best['model']}), {of_windows(best['share_of_limit'], '.0%')} of what the matrix products alone would allow."
    ]


def release(rows: Sequence[Row]) -> list[str]:
    """The longest answer of all phases."""
    rows = having(rows, "phase", "requests", "max_ms")
    if not rows:
        return []
    slowest = max(rows, key=lambda row: first_of(row["max_ms"]))
    return [
        f"{sum(row['requests'] for row in rows):,} requests were answered while a version was released; the longest "
        f"took {slowest['max_ms']:,.1f} ms ({slowest['phase']})."
    ]


def check_verdict(rows: Sequence[Row]) -> list[str]:
    """How many parts were judged, and which are slower."""
    rows = having(rows, "part", "verdict")
    if not rows:
        return []
    judged = [row for row in rows if row.get("change") is not None]
    slow = [row for row in judged if row["verdict"] == SLOWER]
    names = [": ".join(row[name] for name in ("set", "part") if row.get(name)) for row in slow]
    return [f"{len(judged)} of {len(rows)} parts could be judged; slower: {', '.join(names) or 'none'}."]


def embeddings(rows: Sequence[Row]) -> list[str]:
    """The smallest table from which on the update by rows is faster."""
    texts = []
    rows = having(rows, "lookups", "rows", "dense_ms", "by_rows_ms")
    for lookups in dict.fromkeys(row["lookups"] for row in rows):
        own = sorted((row for row in rows if row["lookups"] == lookups), key=lambda row: row["rows"])
        slower = [k for k, row in enumerate(own) if median_of(row, "by_rows_ms") >= median_of(row, "dense_ms")]
        first = slower[-1] + 1 if slower else 0
        if first == len(own):
            texts.append(f"with {lookups:,} lookups an update by rows was not faster for any table measured.")
        else:
            texts.append(
                f"with {lookups:,} lookups an update by rows is faster than one of the whole table from "
                f"{own[first]['rows']:,} rows on (of the sizes measured)."
            )
    return texts


SUMMARIES: Mapping[str, Summary] = {
    "speedup": speedup,
    "train": train,
    "ncf": ncf,
    "scaling": scaling,
    "peers": peers,
    "trainings": trainings,
    "evaluate": evaluate,
    "prep": prep,
    "serve": serve,
    "serve-quality": serve_quality,
    "release": release,
    "batch": batch,
    "check-verdict": check_verdict,
    "embeddings": embeddings,
}
