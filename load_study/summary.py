"""The summary of inference under load: sentences with the main figures of each kind of record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from load_study.operator_kinds import KINDS
from load_study.tables import goal, interval, same_rate
from recsys_core.measuring.cells import Row, having, of_windows
from recsys_core.measuring.drawing import median_of
from recsys_core.measuring.report import Summary


def load(rows: Sequence[Row]) -> list[str]:
    """For each subject: the latency at the lowest and at the highest offered rate of the open loop."""
    texts = []
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in having(rows, "model", "engine", "target", "p95_s", "offered_rate", "queries"):
        if row.get("loop") == "open":
            found.setdefault((row["model"], row["engine"], row["target"]), []).append(row)
    for (model, engine, _), own in found.items():
        ends = sorted(own, key=lambda row: row["offered_rate"])
        parts = [
            f"{interval('p95_s')(row)} ms at {row['offered_rate']:,.1f} queries/s"
            for row in (ends if len(ends) < 2 else (ends[0], ends[-1]))
        ]
        lost = sum(row.get("errors", 0) + row.get("timeouts", 0) for row in own) / sum(row["queries"] for row in own)
        texts.append(
            f"{model} on {engine}: 95 % of the queries are answered within {' and within '.join(parts)}; "
            f"{lost:.2%} of all queries failed or timed out."
        )
    return texts


def schedule(rows: Sequence[Row]) -> list[str]:
    """The highest rate of each subject."""
    texts = []
    for row in having(rows, "model", "engine", "level", "target_ms", "rate", "best_split"):
        goal = f"p{100 * row['level']:g} below {row['target_ms']:g} ms"
        name = f"{row['model']} on {row['engine']}" + (
            ", with a simulated accelerator" if row.get("is_simulated") else ""
        )
        if not row["rate"]:
            texts.append(f"{name}: no rate that was tried kept {goal}.")
            continue
        gain = row.get("gain")
        texts.append(
            f"{name}: at most {row['rate']:,.1f} queries/s with {goal}, queries cut into parts of at most "
            f"{row['best_split']:,} items" + (f"; {gain:.2f} times the rate of the fixed split." if gain else ".")
        )
    return texts


def loadgen(rows: Sequence[Row]) -> list[str]:
    """Both rates of each subject, and whether they are the same within their intervals."""
    texts = []
    for row in having(rows, "model", "engine", "level", "target_ms", "rate", "loadgen_rate"):
        theory = f", queueing theory {row['theory_rate']:,.1f}" if row.get("theory_rate") else ""
        verdict = "the same within" if same_rate(row) == "yes" else "not the same within"
        texts.append(
            f"{row['model']} on {row['engine']}, {goal(row)}: this package finds "
            f"{interval('rate', ',.1f', 1.0)(row)} queries/s, MLPerf's LoadGen "
            f"{interval('loadgen_rate', ',.1f', 1.0)(row)}{theory}; {verdict} their intervals."
        )
    return texts


def operators(rows: Sequence[Row]) -> list[str]:
    """The kind of operator with the largest share at the largest batch of each subject."""
    largest: dict[tuple[str, str], Row] = {}
    for row in having(rows, "model", "engine", "batch", "ms", "shares"):
        name = (row["model"], row["engine"])
        if name not in largest or row["batch"] >= largest[name]["batch"]:
            largest[name] = row
    texts = []
    for (model, engine), row in largest.items():
        kind = max(KINDS, key=lambda kind: row["shares"].get(kind, 0.0))
        texts.append(
            f"{model} on {engine}, batch {row['batch']:,}: {kind} takes the largest share, {row['shares'][kind]:.0%} "
            f"of {row['ms']:.2f} ms."
        )
    return texts


def platforms(rows: Sequence[Row]) -> list[str]:
    """The fastest engine of each model at its smallest and largest batch."""
    texts = []
    rows = having(rows, "model", "engine", "batch", "speed_up")
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        parts = []
        for batch in sorted({min(row["batch"] for row in own), max(row["batch"] for row in own)}):
            best = max((row for row in own if row["batch"] == batch), key=lambda row: median_of(row, "speed_up"))
            parts.append(
                f"{best['engine']} at batch {batch:,}, {of_windows(best['speed_up'], '.2f')} times as fast as "
                "TensorFlow"
            )
        texts.append(f"the fastest engine of {model} is {'; and '.join(parts)}.")
    return texts


SUMMARIES: Mapping[str, Summary] = {
    "load": load,
    "schedule": schedule,
    "loadgen": loadgen,
    "operators": operators,
    "platforms": platforms,
}
