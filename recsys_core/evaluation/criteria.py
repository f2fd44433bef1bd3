"""The evaluation settings of a run, parsed: metrics, conditions and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recsys_core.baselines import check_names
from recsys_core.config import EvaluationConfig
from recsys_core.dataset import Dataset
from recsys_core.evaluation.condition import Condition, default_condition, parse_condition
from recsys_core.evaluation.metric_names import ALL, SAMPLED, Metric, parse_metric


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """The parsed evaluation settings."""

    metrics: tuple[Metric, ...]
    """What every evaluation during training measures."""
    final_metrics: tuple[Metric, ...]
    """What the evaluation of the best checkpoint measures: these, and all of `metrics`."""
    primary: Metric
    target: Condition | None
    conditions: tuple[Condition, ...]
    baselines: tuple[str, ...]
    note: str = ""
    """Which metrics rank the whole catalogue for want of candidates; "" where none does."""


def criteria(config: EvaluationConfig, data: Dataset | None = None) -> Criteria:
    """Parse metrics, gate and baselines; every metric that decides something is evaluated.

    Args:
        data: the data set that is evaluated. Where it has no candidates, metrics that name no protocol rank the whole
            catalogue. None to look only for mistakes.

    Raises:
        ValueError: an unknown metric or baseline, or a gate of another form.
    """
    check_names(config.baselines)
    names = tuple(dict.fromkeys(("popularity", *config.baselines)))
    whole = data is not None and config.PROTOCOL == SAMPLED and not data.has_candidates
    protocol = ALL if whole else config.PROTOCOL
    primary = parse_metric(config.primary, protocol)
    conditions = tuple(parse_condition(text, names, protocol) for text in config.gate) or (default_condition(primary),)
    target = parse_condition(config.target, (), protocol, "--target") if config.target else None
    wanted = [*(parse_metric(m, protocol) for m in config.metrics), primary, *([target.metric] if target else [])]
    final = [*wanted, *(parse_metric(m, protocol) for m in config.final_metrics), *(c.metric for c in conditions)]
    return Criteria(
        metrics=tuple(dict.fromkeys(wanted)),
        final_metrics=tuple(dict.fromkeys(final)),
        primary=primary,
        target=target,
        conditions=conditions,
        baselines=names,
        note=_note((*config.metrics, config.primary), data.name) if whole and data is not None else "",
    )


def _note(names: Sequence[str], data: str) -> str:
    """The line about metrics that name no protocol; "" where all of them name one."""
    unsaid = dict.fromkeys(name for name in names if "/" not in name)
    changed = ", ".join(f"{name} is {name}/{ALL}" for name in unsaid)
    return f"{data} has no lists of candidates: {changed}, over the whole catalogue" if unsaid else ""
