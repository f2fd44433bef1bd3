"""The evaluation settings of a run, parsed: metrics, conditions and baselines."""

from __future__ import annotations

from dataclasses import dataclass

from recsys_core.config import EvaluationConfig
from recsys_core.evaluation.baselines import KNOWN as BASELINES
from recsys_core.evaluation.gate import Condition, default_condition, parse_condition
from recsys_core.evaluation.metrics import Metric, parse_metric


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


def criteria(config: EvaluationConfig) -> Criteria:
    """Parse metrics, gate and baselines; every metric that decides something is evaluated.

    Raises:
        ValueError: an unknown metric or baseline, or a gate of another form.
    """
    for name in config.baselines:
        if name not in BASELINES:
            raise ValueError(f"unknown baseline {name!r}, known are: {', '.join(BASELINES)}")
    names = tuple(dict.fromkeys(("popularity", *config.baselines)))
    protocol = config.PROTOCOL
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
    )
