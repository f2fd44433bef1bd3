"""The counts of a shadow as counters of Triton's metrics endpoint, for each model and candidate version."""

from __future__ import annotations

from typing import Any

from serving.triton.shadow.settings import ShadowSettings
from serving.triton.shadow.tally import Tally

FAMILIES = {
    "recsys_shadow_requests_total": "Requests of the served version, by what became of them in the shadow",
    "recsys_shadow_overlap_total": "Sum over answered requests of the share of items that both answers hold",
    "recsys_shadow_same_first_total": "Answered requests whose first item is the same in both answers",
    "recsys_shadow_calls_total": "Calls that both models answered",
    "recsys_shadow_seconds_total": "Seconds of these calls, by model",
}


class ShadowMetrics:
    """Counters of one shadow; several instances of a model add to the same ones."""

    def __init__(self, utils: Any, model: str, settings: ShadowSettings, start: Tally) -> None:
        """
        Args:
            utils: Triton's module for Python backends.
            start: counts that are not added: those of before the server was restarted.
        """
        labels = {"model": model, "candidate": str(settings.version), "served": str(settings.served)}
        self._families = {  # they must live as long as their metrics
            name: utils.MetricFamily(name=name, description=text, kind=utils.MetricFamily.COUNTER)
            for name, text in FAMILIES.items()
        }
        self._metrics = {key: self._families[key[0]].Metric(labels=labels | dict(key[1:])) for key in _values(Tally())}
        self._sent = _values(start)

    def update(self, tally: Tally) -> None:
        """Add what was counted since the last time."""
        for key, value in _values(tally).items():
            if (more := value - self._sent[key]) > 0:
                self._metrics[key].increment(more)
                self._sent[key] = value


def _values(tally: Tally) -> dict[tuple[Any, ...], float]:
    """(name of a family, label and its value ...) -> value."""
    requests = {outcome: getattr(tally, outcome) for outcome in ("offered", "answered", "dropped", "failed")}
    return {
        **{("recsys_shadow_requests_total", ("outcome", name)): value for name, value in requests.items()},
        ("recsys_shadow_overlap_total",): tally.overlap,
        ("recsys_shadow_same_first_total",): tally.same_first,
        ("recsys_shadow_calls_total",): tally.candidate.count,
        ("recsys_shadow_seconds_total", ("of", "served")): tally.served.total,
        ("recsys_shadow_seconds_total", ("of", "candidate")): tally.candidate.total,
    }
