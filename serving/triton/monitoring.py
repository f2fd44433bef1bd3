"""Counters of what the recommender answers, on Triton's metrics endpoint, by the metrics API of its Python backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from serving.recommend.recommender import Recommendation
from serving.recommend.requests import Request, RequestError

ANSWERS = "recsys_answers_total"
FAMILIES = {
    ANSWERS: "Rows answered, by source: model, popular for a request without a known user or item, or error",
    "recsys_short_answers_total": "Rows answered with fewer items than were asked for",
    "recsys_unknown_users_total": "Rows that name a user who is not known",
    "recsys_unknown_items_total": "Item ids and titles of requests that are not known",
    "recsys_refused_requests_total": "Requests refused because a value in them is not valid",
    "recsys_failed_requests_total": "Requests that failed because the engine failed",
}
"""Name -> its help. All have the labels model and version, ANSWERS has source too."""


def count_rows(
    requests: Sequence[Request | RequestError], answers: Sequence[Recommendation]
) -> Counter[tuple[str, str]]:
    """What the rows of a batch add: (family, source) -> number; source is "" but for ANSWERS."""
    found: Counter[tuple[str, str]] = Counter()
    for request, answer in zip(requests, answers, strict=True):
        found[ANSWERS, answer.source] += 1
        if isinstance(request, RequestError):
            continue
        found["recsys_short_answers_total", ""] += len(answer.item_ids) < request.k
        found["recsys_unknown_items_total", ""] += len(answer.unknown)
        unknown = request.user_id is not None and f"user {request.user_id} is not known" in answer.note
        found["recsys_unknown_users_total", ""] += unknown
    return found


class Counters:
    """Counters of one instance of a model. Without the metrics API, or with metrics off, nothing is counted."""

    def __init__(self, utils: Any, model: str, version: str) -> None:
        """
        Args:
            utils: the module `triton_python_backend_utils`.
        """
        self._labels = {"model": model, "version": version}
        self._metrics: dict[tuple[str, str], Any] = {}
        self._families: dict[str, Any] = {}  # kept: a family must live as long as its metrics
        try:
            for name, text in FAMILIES.items():
                self._families[name] = utils.MetricFamily(name=name, description=text, kind=utils.MetricFamily.COUNTER)
                for source in ("model", "popular", "error") if name == ANSWERS else ("",):
                    self._metric(name, source)  # so that a rate is known from the start
        except Exception:  # AttributeError of another backend, TritonModelException with --allow-metrics=false
            self._families = {}

    def _metric(self, name: str, source: str) -> Any:
        key = (name, source)
        if key not in self._metrics:
            labels = self._labels | ({"source": source} if source else {})
            self._metrics[key] = self._families[name].Metric(labels=labels)
        return self._metrics[key]

    def answered(self, requests: Sequence[Request | RequestError], answers: Sequence[Recommendation]) -> None:
        """Count the rows of a batch."""
        if self._families:
            for (name, source), number in count_rows(requests, answers).items():
                if number:
                    self._metric(name, source).increment(number)

    def refused(self, number: int = 1) -> None:
        """Count requests that were not valid."""
        self._add("recsys_refused_requests_total", number)

    def failed(self, number: int) -> None:
        """Count requests for which the engine failed."""
        self._add("recsys_failed_requests_total", number)

    def _add(self, name: str, number: int) -> None:
        if self._families and number:
            self._metric(name, "").increment(number)
