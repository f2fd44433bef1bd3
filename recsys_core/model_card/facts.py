"""What a model card states: read from `export.json`, `result.json` and the manifest of the data set."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from recsys_core.measuring.machine import versions

NORMAL_95 = 1.959964
"""A normal 95 % interval has this many standard errors on each side."""
PROTOCOLS = {
    "default": "Some users are held out whole: the model sees a share of their items and has to find the rest.",
    "users": "Some users are held out whole: the model sees a share of their items and has to find the rest.",
    "liang2018": "Some users are held out whole: the model sees a share of their items and has to find the rest.",
    "leave-one-out": "One item of each user is held out for the test, one for the validation.",
    "time": "The latest interactions of all users are held out.",
    "per-user": "A share of the items of each user is held out.",
    "given": "The split was given with the data.",
}
"""Protocol of `data_prep` -> what is held out."""
Rows = list[tuple[str, ...]]


def interval(metric: Mapping[str, Any]) -> str:
    """A mean with its 95 % interval, as "0.338 (0.288 to 0.387)"; without it where there is no standard error."""
    mean, error = metric.get("mean"), metric.get("standard_error")
    if mean is None:
        return "not a number"
    if error is None:
        return f"{mean:.4f}"
    return f"{mean:.4f} ({mean - NORMAL_95 * error:.4f} to {mean + NORMAL_95 * error:.4f})"


def measured(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The results that hold for a model: its own; for a final fit, which sees all users, those of its judged run."""
    return result.get("judged_run") or result


def metric_rows(result: Mapping[str, Any], split: str) -> Rows:
    """A header and a row for each metric: the model, then each baseline, with intervals. No row if none was measured.

    Args:
        split: "validation" or "test".
    """
    own = measured(result)
    columns = {"this model": own[split], **{name: b[split] for name, b in (own.get("baselines") or {}).items()}}
    names = list(own[split].get("metrics", ()))
    header = ("metric", *columns)
    cells = [
        tuple(interval(found["metrics"][name]) if name in found["metrics"] else "" for found in columns.values())
        for name in names
    ]
    return [header, *((name, *row) for name, row in zip(names, cells, strict=True))]


def gate_lines(result: Mapping[str, Any]) -> list[str]:
    """The conditions that the model had to reach on the validation users."""
    lines = []
    for condition in (measured(result).get("gate") or {}).get("conditions", ()):
        outcome = "passed" if condition["passed"] else "missed"
        lines.append(
            f"{condition['condition']}: {outcome}, {condition['reached']:.4f} reached, {condition['wanted']:.4f} wanted"
        )
    return lines


def _licence(name: str) -> tuple[str, str]:
    """The licence and the page of a data set of the catalogue; "" for others."""
    from data_prep.catalog import entries

    if not name or entries.is_file_name(name) or not entries.is_known(name):
        return "", ""
    entry = entries.load(name)
    return entry.licence, entry.page


def data_rows(manifest: Mapping[str, Any], export: Mapping[str, Any]) -> Rows:
    """Name and value of what is known of the data set.

    Args:
        manifest: of the data set; empty for one in memory.
        export: the content of `export.json`.
    """
    parameters, counts = manifest.get("parameters", {}), manifest.get("counts", {})
    name = str(parameters.get("name", ""))
    licence, page = _licence(name)
    rows: Rows = [("data set", name or "a table in memory"), ("fingerprint", str(export["data_set"]))]
    source = manifest.get("source", {})
    rows += [("source", ", ".join(map(str, source["files"])))] if source.get("files") else []
    rows += [("checksum of the source", str(source["sha256"]))] if source.get("sha256") else []
    for field, text in (
        ("events", "interactions"),
        ("users", "users"),
        ("train_users", "training users"),
        ("train_items", "items"),
        ("train_events", "training interactions"),
        ("held_out_users", "held-out users, for validation and for test each"),
    ):
        rows += [(text, f"{counts[field]:,}")] if field in counts else []
    times = manifest.get("times") or {}
    if times.get("unit") == "s" and times.get("first") is not None:
        rows.append(("from", _day(times["first"])))
        rows.append(("to", _day(times["last"])))
    if parameters.get("threshold") is not None:
        rows.append(("positive", f"ratings above {parameters['threshold']:g}"))
    rows.append(("licence of the data", licence or "not known to the program: ask the owner of the data"))
    return [*rows, ("page of the data", page)] if page else rows


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d}"


def protocol_lines(manifest: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """What was held out, and how many users the figures come from."""
    name = str(manifest.get("parameters", {}).get("protocol", ""))
    lines = [f"Protocol `{name}`: {PROTOCOLS[name]}"] if name in PROTOCOLS else []
    own = measured(result)
    for split in ("validation", "test"):
        found = own[split]
        if "users" not in found:
            lines.append(f"{split.capitalize()}: not measured.")
            continue
        left_out = found.get("users_without_relevant", 0)
        note = f"; {left_out:,} with nothing to find are left out" if left_out else ""
        lines.append(f"{split.capitalize()}: means over {found['users']:,} users{note}.")
    if (own.get("gate") or {}).get("chosen_on_same_users"):
        lines.append("The checkpoint was chosen on the validation users, so those figures are a little too high.")
    if "judged_run" in result:
        lines.append("This model was trained on all users; the figures are those of the run whose settings it repeats.")
    return lines


def limit_lines(export: Mapping[str, Any]) -> list[str]:
    """What the model cannot do."""
    known_users = "user_ids" in export["signatures"].get("serving", {}).get("inputs", {})
    limits = {name: limit for name, limit in export.get("history_limits", {}).items() if limit is not None}
    lines = [
        f"It ranks the {export['n_items']:,} items that it was trained on; an item that came later has no score "
        "until it is trained again.",
        f"An answer of its own holds at most {export['top_k']:,} items, best first, without those that the user has.",
        "A score orders the items of one user; it is no probability, and scores of two users are not compared.",
    ]
    if known_users:
        lines.append("It ranks for its training users only; others get the most popular items, marked as such.")
    else:
        lines.append("It needs at least one known item of a user; without any, the most popular items are given.")
    lines += [f"`{name}` takes histories of up to {limit:,} items." for name, limit in limits.items()]
    if not export.get("users", {}).get("exported", True):
        lines.append("The export holds no ids and no histories of users.")
    lines.append(
        "It repeats what the interactions hold: items that were shown or bought more are recommended more. It was not "
        "measured on groups of users."
    )
    return lines


def version_rows() -> Rows:
    """Packages and their versions where the card was written."""
    return [(name, version) for name, version in versions().items() if version]
