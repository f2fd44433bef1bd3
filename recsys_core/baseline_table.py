"""Fitting baselines and comparing them on the same held-out users: `python -m recsys_core.baselines`."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from recsys_core.baselines import baseline
from recsys_core.baselines.base import Baseline
from recsys_core.baselines.reporting import Lines
from recsys_core.config import plain
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.evaluation.metric_names import ALL, LOWER_IS_BETTER, SAMPLED, Metric, parse_metric
from recsys_core.evaluation.paired import PairedDifference, paired_difference
from recsys_core.evaluation.tables import cell
from recsys_core.world import World

METRICS = ("ndcg@100", "recall@20", "recall@50")
METRICS_OF_CANDIDATES = ("hr@10", "ndcg@10", "recall@10/all", "recall@50/all")
"""Default metrics where the data set has candidates."""
BLOCK = 512
"""Users ranked at once."""


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """What the command line asks for."""

    names: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    """Baseline -> setting -> value."""
    metrics: tuple[str, ...] = ()
    split: str = "test"
    reference: str = ""
    """The baseline that the others are compared with."""
    seed: int | None = None
    tune: bool = False
    save: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A baseline and its result."""

    name: str
    model: Baseline
    seconds: float
    """Time of the fit."""
    evaluation: Evaluation
    differences: Mapping[str, PairedDifference]
    """Metric -> difference to the reference; none for the reference itself and for metrics of the system."""
    tried: Sequence[tuple[Mapping[str, Any], float]] = ()
    """Settings and their value of the first metric on the validation users, where they were chosen among some."""


def parsed_metrics(names: Sequence[str], data: Dataset) -> list[Metric]:
    """The metrics to measure; those that name no protocol are sampled where the data set has candidates.

    Raises:
        UserError: an unknown metric, or one that needs candidates where there are none.
    """
    default = METRICS_OF_CANDIDATES if data.has_candidates else METRICS
    protocol = SAMPLED if data.has_candidates else ""
    try:
        metrics = [parse_metric(name, protocol) for name in names or default]
    except ValueError as error:
        raise UserError(str(error)) from None
    if not data.has_candidates and (sampled := [m for m in metrics if m.is_sampled]):
        raise UserError(
            f"{sampled[0]} needs lists of candidates, which {data.name} has not; use {sampled[0].under(ALL)}"
        )
    return list(dict.fromkeys(metrics))


def say(text: str) -> None:
    """A line on the standard error, where progress is shown."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _fit_shown(model: Baseline) -> Iterator[None]:
    """Show the epochs of a fit: a bar on a terminal, a line every ten seconds elsewhere."""
    if not sys.stderr.isatty():
        model.report = Lines(f"fitting {model.family}", say)
        yield
        return
    with tqdm(desc=f"fitting {model.family}", unit="epoch", leave=False, delay=1) as bar:

        def shown(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        model.report = shown
        yield


def fitted(model: Baseline) -> float:
    """Fit a model and show it; returns the seconds that it took."""
    say(f"fitting {model.family} ...")
    began = time.perf_counter()
    with _fit_shown(model):
        model.solve()
    return time.perf_counter() - began


def _evaluator(data: Dataset, split: str, metrics: Sequence[Metric]) -> Evaluator:
    return Evaluator(
        data.held_out(split), metrics, world=World(), n_items=data.n_items, block_size=BLOCK, train=data.train
    )


def tuned(
    name: str, data: Dataset, settings: Mapping[str, Any], seed: int | None, metric: Metric
) -> tuple[Baseline, float, list[tuple[Mapping[str, Any], float]]]:
    """The model of a grid that is best on the validation users, its seconds, and all that was tried.

    Args:
        settings: settings that are given, and so not chosen.
    """
    kind = baseline(name)
    free = {key: values for key, values in kind.grid.items() if key not in settings}
    evaluator = _evaluator(data, "valid", [metric])
    sign = -1 if metric.name in LOWER_IS_BETTER else 1
    best: tuple[Baseline, float, float] | None = None
    first: Baseline | None = None
    tried: list[tuple[Mapping[str, Any], float]] = []
    for values in itertools.product(*free.values()):
        chosen = dict(zip(free, values, strict=True))
        model = kind(data, seed=seed, **settings, **chosen)
        first = first or model
        model.take_over(first)
        seconds = fitted(model)
        value = evaluator.evaluate(model).metrics[str(metric)].mean
        say(f"  {', '.join(f'{k} {v}' for k, v in chosen.items()) or 'no grid'}: validation {metric} {value:.4f}")
        tried.append((chosen, value))
        if best is None or sign * value > sign * best[2]:
            best = (model, seconds, value)
    assert best is not None, "a product of no lists has one element"
    return best[0], best[1], tried


def _made(name: str, data: Dataset, request: TableRequest) -> Baseline:
    """A baseline with the settings that are given."""
    try:
        return baseline(name)(data, seed=request.seed, **request.settings.get(name, {}))
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def measured(request: TableRequest, data: Dataset) -> list[Row]:
    """Fit and evaluate the baselines, and compare them with the reference.

    Raises:
        UserError: an unknown setting or metric, a baseline that does not fit memory or whose library is not installed,
            or a data set that is not split.
    """
    metrics = parsed_metrics(request.metrics, data)
    evaluator = _evaluator(data, request.split, metrics)
    models = {name: _made(name, data, request) for name in request.names}
    rows: list[Row] = []
    for name, model in models.items():
        tried: Sequence[tuple[Mapping[str, Any], float]] = ()
        if request.tune:
            model, seconds, tried = tuned(name, data, request.settings.get(name, {}), request.seed, metrics[0])
        else:
            seconds = fitted(model)
        say(f"evaluating {name} ...")
        evaluation = evaluator.evaluate(model)
        if request.save is not None:
            model.save(request.save / name)
        rows.append(Row(name=name, model=model, seconds=seconds, evaluation=evaluation, differences={}, tried=tried))
    return [_compared(row, rows, request.reference) for row in rows]


def _compared(row: Row, rows: Sequence[Row], reference: str) -> Row:
    """The row with its differences to the reference."""
    values = next(r for r in rows if r.name == reference).evaluation.values
    if row.name == reference:
        return row
    found = {m: paired_difference(own, values[m]) for m, own in row.evaluation.values.items()}
    return Row(**{**vars(row), "differences": found})


def table(rows: Sequence[Row], reference: str) -> str:
    """Baseline | each metric ± standard error | seconds of the fit | difference to the reference with its interval."""
    metrics = list(rows[0].evaluation.metrics)
    primary = next((m for m in metrics if any(m in row.differences for row in rows)), None)
    lines = []
    for row in rows:
        found = row.differences.get(primary or "")
        shown = f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})" if found else ""
        cells = [cell(row.evaluation.metrics[m]) for m in metrics]
        lines.append([row.name, *cells, f"{row.seconds:.1f}", *([shown] if primary else [])])
    headers = ["baseline", *metrics, "fit s", *([f"{primary} less {reference}'s"] if primary else [])]
    users, left_out = rows[0].evaluation.users, rows[0].evaluation.users_without_relevant
    note = f"{users:,} users" + (f", {left_out:,} left out with nothing to find" if left_out else "")
    note += "; differences of the same users with their 95 % intervals" if primary else ""
    return tabulate(lines, headers, disable_numparse=True) + "\n" + note


def as_json(rows: Sequence[Row], request: TableRequest, data: Dataset) -> dict[str, Any]:
    """The table as plain values, with settings, all differences, and what `--tune` tried."""
    found = {
        row.name: {
            **row.evaluation.as_json(),
            "settings": plain(row.model.settings.get("model", {})),
            "seed": row.model.seed,
            "fit_seconds": row.seconds,
            "differences": {metric: plain(difference) for metric, difference in row.differences.items()},
            "tried": [{"settings": dict(settings), "value": value} for settings, value in row.tried],
        }
        for row in rows
    }
    return {
        "data_set": str(data.folder or ""),
        "fingerprint": data.fingerprint,
        "view": data.view,
        "split": request.split,
        "reference": request.reference,
        "baselines": found,
    }
