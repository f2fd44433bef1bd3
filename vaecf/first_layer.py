"""How the kernel of a first layer is updated in the sparse step: whole, or by the rows of the batch's items.

The gradient of a row is 0 where no user of the batch has the item. By rows, only the others are computed, exchanged and
updated: an update costs what the batch has, not what the catalogue has. Adam is "lazy" then, as it is for the embedding
tables of NCF (`recsys_core.training.sparse_gradients`): the other rows keep their values and their moments.
"""

from __future__ import annotations

import math

from recsys_core.config import TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.training.sparse_gradients import is_sparse


def items_of_batch(data: Dataset, batch_size: int) -> int:
    """Items that the users of a global batch have on average, repeats included."""
    return math.ceil(len(data.train.indices) * min(batch_size, data.n_users) / max(data.n_users, 1))


def check_gradients(choice: str, training: TrainingConfig, *, reads_rows_only: bool, model: str) -> None:
    """Refuse rows where a training changes every row in each step.

    Args:
        choice: --embedding-gradients.
        reads_rows_only: see `Autoencoder`.
        model: name of the class.

    Raises:
        UserError: says what touches every row.
    """
    if choice != "rows":
        return
    given = "--embedding-gradients is rows"
    if not reads_rows_only:
        raise UserError(f"{given}, and the loss of {model} reads the rows of all items; use auto or dense")
    for name in ("l2", "weight_decay"):
        if value := getattr(training, name):
            flag = name.replace("_", "-")
            raise UserError(f"{given}, and --{flag} {value} changes every row; use auto or dense, or --{flag} 0")


def goes_by_rows(choice: str, training: TrainingConfig, data: Dataset, *, reads_rows_only: bool) -> bool:
    """Whether the sparse step updates the kernel by rows: the same on every number of ranks.

    Args:
        choice: --embedding-gradients, which `check_gradients` has passed.
        reads_rows_only: see `Autoencoder`.
    """
    if not reads_rows_only or training.l2 or training.weight_decay:
        return False
    return is_sparse(choice, data.n_items, items_of_batch(data, training.batch_size))
