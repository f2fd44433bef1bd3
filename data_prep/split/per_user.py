"""A share of every user's interactions held out, at random or the latest ones: the protocol of NGCF and LightGCN.

Shape legend: E interactions of a block.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.encode.events import Block
from data_prep.split import segments
from data_prep.split.by_interaction import TEST, TRAIN, VALID, Chooser, Chosen, Roles, assemble, notes_on_new
from data_prep.split.filters import Filtered, chance
from data_prep.split.result import Split, generator
from data_prep.split.rules import LATEST, SplitRules


def roles(block: Block, rank: np.ndarray | None, test_share: float, validation_share: float) -> Roles:
    """[E] of a user's n interactions the last int(test_share * n) are the test, int(validation_share * n) before them
    the validation; one at least stays for training.

    Args:
        rank: [E] what orders them; None: they are in order.
    """
    place, many = segments.from_last(block.indptr, rank), np.repeat(block.lengths, block.lengths)
    for_test = np.minimum((test_share * many + 1e-9).astype(np.int64), many - 1)
    for_validation = np.minimum((validation_share * many + 1e-9).astype(np.int64), many - 1 - for_test)
    return np.select([place < for_test, place < for_test + for_validation], [TEST, VALID], TRAIN).astype(np.int8)


class Random:
    """Roles by chance, which does not depend on the order of the source; one for each pass over the blocks."""

    def __init__(self, seed: int, purpose: str, test_share: float, validation_share: float) -> None:
        self._rng = generator(seed, purpose)
        self._shares = test_share, validation_share

    def __call__(self, block: Block) -> Roles:
        return roles(block, chance(block, self._rng), *self._shares)


def split(kept: Filtered, rules: SplitRules, scratch: Path | None = None) -> Split:
    """Divide each user's interactions.

    Raises:
        ValueError: the latest are asked for and there are no times, or a part is empty.
    """
    if rules.choice == LATEST and not kept.has_times:
        raise ValueError("--choice latest needs a column of times; name it with --time-column, or use --choice random")

    def chooser() -> Chooser:
        if rules.choice == LATEST:
            return lambda sifted: roles(sifted.block, None, rules.held_out_share, rules.validation_share)
        by_chance = Random(rules.seed, "per-user", rules.held_out_share, rules.validation_share)
        return lambda sifted: by_chance(sifted.block)

    found = assemble(Chosen(kept=kept, chooser=chooser), scratch).split
    for name, flag, held_out in (
        ("validation", "--validation-share", found.valid),
        ("test", "--held-out-share", found.test),
    ):
        if not held_out.fold_out.nnz:
            raise ValueError(
                f"the {name} set would be empty: no user has enough items; raise {flag} "
                f"({rules.validation_share if held_out is found.valid else rules.held_out_share:g})"
            )
    return replace(found, notes=(*notes_on_new(found.counts), *found.notes))
