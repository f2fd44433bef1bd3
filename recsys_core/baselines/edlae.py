"""EDLAE (Steck 2020, "Autoencoders that don't overfit towards the Identity"), of full rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_core.baselines.gram import Penalty
from recsys_core.baselines.linear import LinearItemModel


@dataclass(frozen=True, kw_only=True)
class EdlaeConfig:
    """Settings of EDLAE."""

    regularization: float = 300.0
    """L2 of the weights, the same for all items."""
    dropout: float = 0.5
    """Probability p with which the model is trained to restore an item; items are regularised by p / (1 - p) times
    their number of training users besides."""
    user_weighting: float = 0.0
    """Exponent a of the weight (n / mean n)^-a of a training user with n items; 0: all users weigh the same."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if not self.regularization > 0:
            raise ValueError(f"regularization is {self.regularization}, expected more than 0")
        if not 0 <= self.user_weighting <= 2:
            raise ValueError(f"user_weighting is {self.user_weighting}, expected a number from 0 to 2")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected a number from 0 to below 1")


class Edlae(LinearItemModel):
    """EDLAE: the linear item-to-item model that best restores items which dropout took from the history.

    The expectation over dropout has a closed form: that of EASE with λ + p / (1 - p) · diag(XᵀX) in place of λ.
    """

    family = "edlae"
    configs = {"model": EdlaeConfig}
    grid = {"regularization": (30.0, 100.0, 300.0, 1000.0), "dropout": (0.33, 0.5), "user_weighting": (0.0, 0.5)}

    def penalty(self, totals: npt.NDArray[np.float64]) -> Penalty:
        settings = self.settings["model"]
        penalty = settings.regularization + settings.dropout / (1 - settings.dropout) * totals
        return np.asarray(penalty, np.float32)
