"""Results as text: the table of metrics and the lines of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from recsys_core.evaluation.gate import DIFFERENCE, Verdict
from recsys_core.evaluation.metric_names import LOWER_IS_BETTER, parse_metric
from recsys_core.evaluation.paired import CONFIDENCE, FEW_USERS
from recsys_core.evaluation.result import Estimate, Evaluation

CHOSEN = (
    "note: the best epoch was chosen by the same users, so these values are a little high; the test users chose nothing"
)
"""Said below the gate of a run whose epoch was chosen (docs/evaluation.md says how much too high they are)."""


def cell(estimate: Estimate) -> str:
    """A mean ± its standard error."""
    spread = f" ± {estimate.standard_error:.4f}" if estimate.standard_error is not None else ""
    return f"{estimate.mean:.4f}{spread}"


def result_table(model: Evaluation, baselines: Mapping[str, Evaluation]) -> str:
    """metric | model ± standard error | each baseline | gain over popularity."""
    rows = []
    for name, estimate in model.metrics.items():
        base = baselines["popularity"].metrics[name].mean
        gain = (
            f"{estimate.mean / base - 1:+.0%}" if base > 0 and parse_metric(name).name not in LOWER_IS_BETTER else "-"
        )
        rows.append([name, cell(estimate), *(cell(b.metrics[name]) for b in baselines.values()), gain])
    headers = ["metric", "model", *baselines, "gain over popularity"]
    left_out = model.users_without_relevant
    note = f"{model.users:,} users" + (f", {left_out:,} left out with nothing to find" if left_out else "")
    return tabulate(rows, headers, disable_numparse=True) + "\n" + note


def gate_lines(verdicts: Sequence[Verdict], chosen_on_them: bool = False) -> str:
    """One line a condition, and what a reader of the intervals has to know."""
    lines = [f"gate {'passed' if v.passed else 'MISSED'}: {v.condition}: {_reached(v)}" for v in verdicts]
    fewest = min((v.users for v in verdicts if v.users is not None), default=FEW_USERS)
    if fewest < FEW_USERS:
        lines.append(f"note: {_users(fewest)}; below {FEW_USERS} such an interval is rough")
    if chosen_on_them:
        lines.append(CHOSEN)
    return "\n".join(lines)


def _users(count: int) -> str:
    return f"{count} user{'s' if count != 1 else ''}"


def _reached(v: Verdict) -> str:
    """What a condition wants, and what was reached, with the interval that decided."""
    figures = f"{v.reached:.4f} reached, {v.wanted:.4f} wanted"
    if v.users is None:
        return figures
    if v.low is None or v.high is None:
        return f"{figures}, no interval of {_users(v.users)}"
    sign, of = ("+", " of the difference") if v.interval_of == DIFFERENCE else ("", "")
    interval = f"{CONFIDENCE * 100:g} % interval{of} {v.low:{sign}.4f} to {v.high:{sign}.4f}"
    unsure = not v.passed and v.reached > v.wanted
    return f"{figures}, {interval}" + (f": {_users(v.users)} are too few to be sure" if unsure else "")
