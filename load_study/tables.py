"""The tables of inference under load: columns and notes by kind of record."""

from __future__ import annotations

import math
from collections.abc import Mapping

from load_study.goals import FROM_MEMORY
from load_study.operator_kinds import KINDS
from recsys_core.measuring.cells import Cell, Row, estimate, number, plain
from recsys_core.measuring.tables import Table


def interval(name: str, form: str = ".1f", scale: float = 1e3) -> Cell:
    """An estimate and its confidence interval; empty where the load was too short for one."""

    def cell(row: Row) -> str:
        found = row.get(name)
        if not found:
            return ""
        value, low, high = found
        top = "?" if high is None else f"{scale * high:{form}}"
        return f"{scale * value:{form}} ({scale * low:{form}} to {top})"

    return cell


def goal(row: Row) -> str:
    """The target, marked where its number could not be verified."""
    doubt = ", unverified" if row.get("target_from") == FROM_MEMORY else ""
    return f"p{100 * row['level']:g} < {row['target_ms']:g} ms{doubt}"


def same_rate(row: Row) -> str:
    """Whether the interval of this package's rate and that of LoadGen's overlap; empty where one is missing."""
    ours, theirs = row.get("rate"), row.get("loadgen_rate")
    if not ours or not theirs:
        return ""
    (_, low, high), (_, other_low, other_high) = ours, theirs
    return "yes" if low <= (other_high or math.inf) and other_low <= (high or math.inf) else "no"


def _kind_share(name: str) -> Cell:
    """Share of a kind of operator."""
    return lambda row: f"{row['shares'][name]:.0%}" if row.get("shares", {}).get(name) else ""


def _count(name: str) -> Cell:
    """A count; empty where it is 0."""
    return lambda row: f"{row[name]:,.0f}" if row.get(name) else ""


def _share_of_queries(name: str) -> Cell:
    """A count as a share of all queries of the load; empty where it is 0."""
    return lambda row: f"{row[name] / row['queries']:.2%}" if row.get(name) else ""


ZOO_SETTINGS = ("ids", "table_mib")
"""Records of models of the zoo that differ in these are never in one table or plot."""

TABLES: Mapping[str, Table] = {
    "load": Table(
        title="Load",
        grouped_by=ZOO_SETTINGS,
        columns=(
            ("model", plain("model")),
            ("engine", plain("engine")),
            ("ids", plain("ids")),
            ("tables (MiB)", plain("table_mib")),
            ("target", plain("target")),
            ("engines (count)", plain("engines")),
            ("loop", plain("loop")),
            ("arrivals", plain("arrivals")),
            ("stall (s)", plain("stall_s")),
            ("service (ms)", number("service_s", ".2f", 1e3)),
            ("offered (queries/s)", number("offered_rate", ",.1f")),
            ("answered (queries/s)", number("completed_rate", ",.1f")),
            ("scored (items/s)", number("completed_items_rate", ",.0f")),
            ("mean (ms)", interval("mean_s")),
            ("mean in theory (ms)", number("theory_mean_s", ".1f", 1e3)),
            ("p50 (ms)", interval("p50_s")),
            ("p95 (ms)", interval("p95_s")),
            ("p95 in theory (ms)", number("theory_p95_s", ".1f", 1e3)),
            ("p99 (ms)", interval("p99_s")),
            ("p99 in theory (ms)", number("theory_p99_s", ".1f", 1e3)),
            ("p99.9 (ms)", interval("p999_s")),
            ("errors (%)", _share_of_queries("errors")),
            ("timeouts (%)", _share_of_queries("timeouts")),
            ("generator", plain("generator")),
        ),
        note="Latency of the answered queries from the time they were due (closed loop: from the time they were sent, "
        "which hides the waiting time). In brackets 95 % intervals from batch means; empty for too few queries. "
        "Theory is queueing theory with the measured service time.",
    ),
    "schedule": Table(
        title="Highest rate within the tail-latency target",
        grouped_by=ZOO_SETTINGS,
        columns=(
            ("model", plain("model")),
            ("engine", plain("engine")),
            ("ids", plain("ids")),
            ("tables (MiB)", plain("table_mib")),
            ("target", plain("target")),
            ("simulated", lambda row: "yes" if row.get("is_simulated") else ""),
            ("goal", goal),
            ("split (items)", plain("best_split")),
            ("offload above (items)", plain("best_offload_above")),
            ("highest rate (queries/s)", number("rate", ",.1f")),
            ("scored (items/s)", number("items_rate", ",.0f")),
            ("tail (ms)", number("tail_ms", ".1f")),
            ("capacity (queries/s)", number("capacity", ",.1f")),
            ("late windows discarded (count)", _count("discarded_windows")),
            ("fixed split (items)", plain("baseline_split")),
            ("its highest rate (queries/s)", number("baseline_rate", ",.1f")),
            ("gain (factor)", number("gain", ".2f")),
            ("exhaustive (queries/s)", number("exhaustive_rate", ",.1f")),
            ("its split (items)", plain("exhaustive_split")),
            ("its capacity (queries/s)", number("exhaustive_capacity", ",.1f")),
            ("search on its windows (queries/s)", number("bisected_again_rate", ",.1f")),
            ("shared (%)", number("bisected_again_shared", ".0%")),
            ("generator", plain("generator")),
        ),
        note="The highest Poisson rate at which the percentile of the latency is within the goal, over the split of "
        "queries. The fixed split cuts the largest query evenly over the engines. An unverified goal is the paper's "
        "from memory. A window whose generator was late was discarded and run again.",
    ),
    "loadgen": Table(
        title="Highest rate by MLPerf's LoadGen and by this package",
        columns=(
            ("model", plain("model")),
            ("engine", plain("engine")),
            ("ids", plain("ids")),
            ("tables (MiB)", plain("table_mib")),
            ("target", plain("target")),
            ("engines (count)", plain("engines")),
            ("split (items)", plain("split")),
            ("goal", goal),
            ("window (s)", number("window_s", "g")),
            ("capacity (queries/s)", number("capacity", ",.1f")),
            ("this package (queries/s)", interval("rate", ",.1f", 1.0)),
            ("LoadGen (queries/s)", interval("loadgen_rate", ",.1f", 1.0)),
            ("in theory (queries/s)", number("theory_rate", ",.1f")),
            ("same rate", same_rate),
            ("LoadGen's own verdict VALID up to (queries/s)", number("loadgen_valid_rate", ",.1f")),
            ("late windows discarded (count)", _count("discarded_windows")),
            ("of LoadGen (count)", _count("loadgen_discarded_windows")),
            ("generator", plain("generator")),
        ),
        note="The median over the repeated searches; in brackets from the lowest answer to the highest rate above an "
        "answer that was tried and missed. The same rate: these intervals overlap. LoadGen's own verdict asks for the "
        "percentile with a confidence of 99 %, which short windows do not give.",
    ),
    "operators": Table(
        title="Time by kind of operator",
        grouped_by=ZOO_SETTINGS,
        columns=(
            ("model", plain("model")),
            ("engine", plain("engine")),
            ("ids", plain("ids")),
            ("tables (MiB)", plain("table_mib")),
            ("batch (examples)", plain("batch")),
            ("time (ms)", number("ms", ",.2f")),
            *((f"{kind} (%)", _kind_share(kind)) for kind in KINDS),
        ),
        note="Shares of the time inside operators, of one process: the means of one profile of 10 requests. The record "
        "holds no repeated windows, so there is no interval.",
    ),
    "platforms": Table(
        title="Speed-up over TensorFlow",
        grouped_by=ZOO_SETTINGS,
        columns=(
            ("model", plain("model")),
            ("batch (examples)", plain("batch")),
            ("engine", plain("engine")),
            ("ids", plain("ids")),
            ("tables (MiB)", plain("table_mib")),
            ("p50 (ms)", estimate("p50_ms", ",.2f")),
            ("p99 (ms)", estimate("p99_ms", ",.2f")),
            ("speed (examples/s)", number("examples_per_second", ",.0f")),
            ("speed-up (factor)", number("speed_up", ".2f")),
        ),
        note="A percentile is stated where at least 10 requests are expected beyond it, with its 95 % interval. "
        "p50 and p99: times of a request over all windows; the windows of all engines come in turn. Speed and "
        "speed-up: medians over rounds, ratios within a round.",
    ),
}
