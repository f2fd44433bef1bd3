"""Paired comparison of models on the same held-out users: difference of their means with a confidence interval.

Shape legend: S held-out users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metrics import COVERAGE, parse_metric
from recsys_core.model import Recommender
from recsys_core.world import World


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean over users of (value of one model - value of another), and its confidence interval."""

    mean: float
    standard_error: float
    low: float
    high: float
    confidence: float
    """Share of repetitions, with other users, whose interval holds the true mean."""
    users: int
    """Users with a value."""


def paired_difference(values: npt.ArrayLike, reference: npt.ArrayLike, *, confidence: float = 0.95) -> PairedDifference:
    """The mean of the differences `values - reference` and its Student's t interval.

    Both models are measured on the same users in the same order. What makes a user easy or hard is in both values and
    cancels in the difference; two separate standard errors are larger, and do not answer which model is better.

    What the interval assumes and covers:
        - Users are independent of each other, and so many (from about 30) that the mean of the differences is normal.
        - It covers the choice of test users. It does not cover another seed, another split or another data set.
        - It is for one comparison that was decided on beforehand. Among 20 comparisons of equal models about one 95 %
          interval leaves 0 out. For n comparisons use a confidence of 1 - 0.05 / n (Bonferroni).
        - The test users chose nothing: no epoch, setting or model. Who looks at them again after each change, until an
          interval leaves 0 out, has no 95 % interval. Choose on the validation users, and look at the test users once.

    Args:
        values: [S] value of one model for each user, NaN where a user has none.
        reference: [S] the same of the model to compare with, the same users in the same order.
        confidence: between 0 and 1.

    Raises:
        ValueError: lists of unlike users, fewer than two users, or a confidence out of range.
    """
    first, second = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"values of shape {first.shape} and {second.shape}, expected one of each of the same users")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a share between 0 and 1, as 0.95")
    if (np.isnan(first) != np.isnan(second)).any():
        raise ValueError("a user has a value of one model only, expected the same users for both")
    differences = (first - second)[~np.isnan(first)]
    if len(differences) < 2:
        raise ValueError(f"{len(differences)} users have a value, expected two or more")
    from scipy.stats import t

    mean, error = float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences)))
    margin = float(t.ppf((1 + confidence) / 2, len(differences) - 1)) * error
    return PairedDifference(
        mean=mean,
        standard_error=error,
        low=mean - margin,
        high=mean + margin,
        confidence=confidence,
        users=len(differences),
    )


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
        if wanted.name == COVERAGE:
            raise ValueError(f"{metric} is one value of all users; per_user takes metrics of each user")
        evaluator = Evaluator(held_out, [wanted], world=World(), n_items=data.n_items)
    except ValueError as error:
        raise UserError(str(error)) from None
    users = data.users
    rows = held_out.train_rows
    ids = users[users["split"] == (split if rows is None else "train")].sort_values("index")["user_id"].to_numpy()
    own = ids if rows is None else ids[np.asarray(rows)]
    return pd.Series(evaluator.per_user(model)[str(wanted)], index=pd.Index(own, name="user"), name=metric)


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
