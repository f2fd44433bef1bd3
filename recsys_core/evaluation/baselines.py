"""The evaluation of baselines beside a model. The baselines themselves are in `recsys_core.baselines`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from recsys_core.baselines import KNOWN, baseline
from recsys_core.baselines.ease import Ease, EaseConfig, ease_weights
from recsys_core.baselines.popularity import Popularity
from recsys_core.baselines.reporting import Lines
from recsys_core.dataset import Dataset
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.world import World

__all__ = ["KNOWN", "Ease", "EaseConfig", "Popularity", "ease_weights", "evaluate"]


def _nothing(text: str) -> None:
    """Say nothing."""


def evaluate(
    names: Sequence[str],
    data: Dataset,
    evaluators: Mapping[str, Evaluator],
    *,
    ease_regularization: float,
    world: World,
    say: Callable[[str], None] = _nothing,
) -> dict[str, dict[str, Evaluation]]:
    """Baseline -> split -> evaluation. Rank 0 alone fits and evaluates them, because their matrices may be large.

    The values of the users stay on rank 0.

    Args:
        evaluators: split -> evaluator.
        say: told how far a long fit is, in lines.

    Raises:
        SharedError: a baseline does not fit into the memory of rank 0's machine, or its library is not installed there.
    """
    found: dict[str, dict[str, Evaluation]] = {}
    settings: Mapping[str, Mapping[str, Any]] = {"ease": {"regularization": ease_regularization}}

    def evaluated(name: str) -> dict[str, Evaluation]:
        model = baseline(name)(data, **settings.get(name, {}))
        model.report = Lines(f"fitting {name}", say)
        model.solve()
        found[name] = {split: e.without_ranks().evaluate(model) for split, e in evaluators.items()}
        return {split: replace(evaluation, values={}) for split, evaluation in found[name].items()}

    for name in names:
        of_rank0 = world.run_on_rank0(partial(evaluated, name))
        found.setdefault(name, of_rank0)
    return found
