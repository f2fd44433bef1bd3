"""Paired comparison of models on the same held-out users: difference of their means with a confidence interval.

Shape legend: S held-out users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.paired import PairedDifference, paired_difference
from recsys_core.evaluation.user_values import user_ids
from recsys_core.model import Recommender
from recsys_core.world import World

__all__ = ["PairedDifference", "compare", "paired_difference", "per_user"]


def per_user(model: Recommender, data: Dataset, metric: str = "ndcg@100", *, split: str = "test") -> pd.Series:
    """[S] a metric of each held-out user, by user id; NaN for a user who has nothing to find.

    Args:
        metric: NAME@K over the whole catalogue, or NAME@K/sampled among the candidates of a leave-one-out data set.
        split: "valid" or "test".

    Raises:
        UserError: an unknown metric or split, a data set that is not split, or a model that was not fitted.
    """
    held_out = data.held_out(split)
    if model.is_closed_form and not model.parameters:
        raise UserError(f"{type(model).__name__} has no parameters yet; fit it first: Trainer().fit(model, data)")
    try:
        wanted = parse_metric(metric)
        if wanted.is_of_system:
            raise ValueError(f"{metric} is one value of all users; per_user takes metrics of each user")
        evaluator = Evaluator(held_out, [wanted], world=World(), n_items=data.n_items, train=data.train)
    except ValueError as error:
        raise UserError(str(error)) from None
    ids = pd.Index(user_ids(data, split), name="user")
    return pd.Series(evaluator.per_user(model)[str(wanted)], index=ids, name=metric)


def compare(
    models: Mapping[str, Recommender],
    data: Dataset,
    metric: str = "ndcg@100",
    *,
    reference: str,
    split: str = "test",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """A row for each model: its mean, and its paired difference to the reference with the confidence interval.

    `paired_difference` says what such an interval assumes; with several models there are several comparisons.

    Args:
        models: name -> fitted model, the reference among them.
        reference: name of the model that the others are compared with.

    Returns:
        A table by name of the model: mean, standard_error, difference, low, high (NaN for the reference), users.

    Raises:
        UserError: as `per_user`, or no model of the reference's name.
    """
    if reference not in models:
        raise UserError(f"reference is {reference!r}, expected one of the models: {', '.join(models)}")
    values = {name: per_user(model, data, metric, split=split).to_numpy() for name, model in models.items()}
    rows = []
    for name, own in values.items():
        known = own[~np.isnan(own)]
        row = {"mean": known.mean(), "standard_error": known.std(ddof=1) / math.sqrt(len(known))}
        if name != reference:
            found = paired_difference(own, values[reference], confidence=confidence)
            row |= {"difference": found.mean, "low": found.low, "high": found.high}
        rows.append(row | {"users": len(known)})
    columns = ["mean", "standard_error", "difference", "low", "high", "users"]
    return pd.DataFrame(rows, index=pd.Index(list(models), name="model")).reindex(columns=columns)
