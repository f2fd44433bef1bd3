"""EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys_core.baselines.gram import Penalty, gram_matrix, weights_of_gram
from recsys_core.baselines.linear import LinearItemModel
from recsys_core.matrices import Csr


@dataclass(frozen=True, kw_only=True)
class EaseConfig:
    """Settings of EASE."""

    regularization: float = 500.0
    """Lambda: L2 of the weights."""
    user_weighting: float = 0.0
    """Exponent a of the weight (n / mean n)^-a of a training user with n items; 0: all users weigh the same."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if not self.regularization > 0:
            raise ValueError(f"regularization is {self.regularization}, expected more than 0")
        if not 0 <= self.user_weighting <= 2:
            raise ValueError(f"user_weighting is {self.user_weighting}, expected a number from 0 to 2")


class Ease(LinearItemModel):
    """EASE (Steck 2019): a linear item-to-item model without self-similarity."""

    family = "ease"
    configs = {"model": EaseConfig}
    grid = {"regularization": (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0), "user_weighting": (0.0, 0.5)}

    def penalty(self, totals: npt.NDArray[np.float64]) -> Penalty:
        del totals
        return float(self.settings["model"].regularization)


def ease_weights(train: Csr, regularization: float) -> npt.NDArray[np.float32]:
    """[I, I] item-to-item weights of EASE (Steck 2019, equation 8).

    With P = (XᵀX + λ·1)⁻¹ the weights are -P[i, j] / P[j, j], and 0 on the diagonal.
    """
    return weights_of_gram(gram_matrix(train), regularization)
