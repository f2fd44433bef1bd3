"""The rules of filtering and splitting: their names and defaults. Imports nothing that takes long, for the help."""

from __future__ import annotations

from dataclasses import dataclass

LIANG2018_SEED = 98765
DEFAULT, LIANG2018, LEAVE_ONE_OUT, TIME, PER_USER, GIVEN = (
    "default", "liang2018", "leave-one-out", "time", "per-user", "given",
)  # fmt: skip
PROTOCOLS = (DEFAULT, LIANG2018, LEAVE_ONE_OUT, TIME, PER_USER, GIVEN)
RENAMED = {"users": DEFAULT}
"""Other names of protocols."""
HELD_OUT_SHARES = {TIME: 0.1, PER_USER: 0.2}
"""Protocol -> default of `SplitRules.held_out_share`."""
RANDOM, LATEST = "random", "latest"
CHOICES = (RANDOM, LATEST)


@dataclass(frozen=True, kw_only=True)
class SplitRules:
    """Every parameter that changes the split."""

    protocol: str = DEFAULT
    min_user_items: int = 5
    min_item_users: int = 0
    k_core: int = 0
    """Drop users and items with fewer interactions than this until none is left; 0: not."""
    max_user_items: int = 0
    """Keep at most so many interactions of a user, the latest ones (without times, random ones); 0: all."""
    held_out_users: float = 0.1
    """Users in the validation set, and as many in the test set; below 1 a share of the users left after filtering."""
    fold_out_share: float = 0.2
    seed: int = LIANG2018_SEED
    negatives: int = 99
    """Negatives in each list of candidates (leave-one-out only)."""
    candidates: str = "clean"
    """How they are drawn: see `data_prep.candidates`."""
    validation_from: str = ""
    """Protocol time: the moment from which interactions are for validation; "" with a share of all interactions."""
    test_from: str = ""
    """Protocol time: the moment from which interactions are for the test."""
    held_out_share: float = 0.2
    """Protocol time: share of the interactions after `test_from` where that is not given, and half as many before it
    for validation. Protocol per-user: share of each user's interactions for the test."""
    validation_share: float = 0.1
    """Protocols time, per-user and given: share for validation."""
    choice: str = RANDOM
    """Protocol per-user: which interactions of a user are held out: random or latest ones."""
