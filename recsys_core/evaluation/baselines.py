"""The evaluation of baselines beside a model. The baselines themselves are in `recsys_core.baselines`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    Args:
        evaluators: split -> evaluator.
        say: told how far a long fit is, in lines.

    Raises:
        SharedError: a baseline does not fit into the memory of rank 0's machine, or its library is not installed there.
    """
    settings: Mapping[str, Mapping[str, Any]] = {"ease": {"regularization": ease_regularization}}

    def evaluated(name: str) -> dict[str, Evaluation]:
        model = baseline(name)(data, **settings.get(name, {}))
        model.report = Lines(f"fitting {name}", say)
        model.solve()
        return {split: e.without_ranks().evaluate(model) for split, e in evaluators.items()}

    return {name: world.run_on_rank0(partial(evaluated, name)) for name in names}
