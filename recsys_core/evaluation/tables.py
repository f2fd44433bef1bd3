"""Results as text: the table of metrics and the lines of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.evaluation.gate import Verdict


def cell(estimate: Estimate) -> str:
    """A mean ± its standard error."""
    spread = f" ± {estimate.standard_error:.4f}" if estimate.standard_error is not None else ""
    return f"{estimate.mean:.4f}{spread}"


def result_table(model: Evaluation, baselines: Mapping[str, Evaluation]) -> str:
    """metric | model ± standard error | each baseline | gain over popularity."""
    rows = []
    for name, estimate in model.metrics.items():
        base = baselines["popularity"].metrics[name].mean
        gain = f"{estimate.mean / base - 1:+.0%}" if base > 0 else "-"
        rows.append([name, cell(estimate), *(cell(b.metrics[name]) for b in baselines.values()), gain])
    headers = ["metric", "model", *baselines, "gain over popularity"]
    left_out = model.users_without_relevant
    note = f"{model.users:,} users" + (f", {left_out:,} left out with nothing to find" if left_out else "")
    return tabulate(rows, headers, disable_numparse=True) + "\n" + note


def gate_lines(verdicts: Sequence[Verdict]) -> str:
    """One line a condition."""
    return "\n".join(
        f"gate {'passed' if v.passed else 'MISSED'}: {v.condition}: {v.reached:.4f} reached, {v.wanted:.4f} wanted"
        for v in verdicts
    )
