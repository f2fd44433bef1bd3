"""The rules of filtering and splitting: their names and defaults. Imports nothing that takes long, for the help."""

from __future__ import annotations

from dataclasses import dataclass

LIANG2018_SEED = 98765
LEAVE_ONE_OUT = "leave-one-out"
PROTOCOLS = ("default", "liang2018", LEAVE_ONE_OUT)


@dataclass(frozen=True, kw_only=True)
class SplitRules:
    """Every parameter that changes the split."""

    protocol: str = "default"
    min_user_items: int = 5
    min_item_users: int = 0
    held_out_users: float = 0.1
    """Users in the validation set, and as many in the test set; below 1 a share of the users left after filtering."""
    fold_out_share: float = 0.2
    seed: int = LIANG2018_SEED
    negatives: int = 99
    """Negatives in each list of candidates (leave-one-out only)."""
    candidates: str = "clean"
    """How they are drawn: see `data_prep.split.candidates`."""
