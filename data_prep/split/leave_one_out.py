"""Leave-one-out (He et al. 2017, section 4.1): each user's latest item is the test, the one before it the validation.

All users are training users. Equal times are settled by the order of the source (the later row is later); without times
the held-out items are drawn by seed, whatever the order of the source. Held-out items come with sampled negatives.
Shape legend: U users, I items, E interactions of a block, S users with a held-out item.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.encode.events import Block
from data_prep.split import candidates, segments
from data_prep.split.by_interaction import TEST, TRAIN, VALID, Chooser, Chosen, Roles, assemble
from data_prep.split.filters import Filtered, Sifted, chance
from data_prep.split.matrix import Matrix
from data_prep.split.result import HeldOut, Split, generator
from data_prep.split.rules import SplitRules

NOT_ENOUGH = "no user has three items: one to train on, one for validation, one for the test"


def roles(block: Block, rank: npt.NDArray | None) -> Roles:
    """[E] TRAIN, VALID or TEST: the last of a user's is the test, where another is left to train on; the one before it
    the validation, where again another is left."""
    place, many = segments.from_last(block.indptr, rank), np.repeat(block.lengths, block.lengths)
    return np.select([(place == 0) & (many >= 2), (place == 1) & (many >= 3)], [TEST, VALID], TRAIN).astype(np.int8)


class _ByChance:
    """Chooses the held-out items of each user by chance, which does not depend on the order of the source.

    It draws for all interactions, also those that the filters drop.
    """

    def __init__(self, seed: int) -> None:
        self._rng = generator(seed, "leave-one-out")

    def __call__(self, sifted: Sifted) -> Roles:
        rank = chance(sifted.whole, self._rng)
        return roles(sifted.block, rank if sifted.chosen is None else rank[sifted.chosen])


def split(kept: Filtered, rules: SplitRules, scratch: Path | None = None) -> Split:
    """Hold out two items of each user.

    Raises:
        ValueError: nobody has three items, or too few items are left to draw negatives from.
    """

    def chooser() -> Chooser:
        if kept.has_times:
            return lambda sifted: roles(sifted.block, None)
        return _ByChance(rules.seed)

    found = assemble(Chosen(kept=kept, chooser=chooser), scratch, all_items=True, with_everything=True)
    assert found.everything is not None
    result = found.split
    if not result.valid.fold_out.n_users or not result.test.fold_out.n_users:
        raise ValueError(NOT_ENOUGH)
    result = with_candidates(result, found.everything, rules, scratch)
    notes = () if kept.has_times else ("no column of times: the held-out items were drawn at random",)
    return replace(result, notes=(*notes, *result.notes))


def with_candidates(split: Split, everything: Matrix, rules: SplitRules, scratch: Path | None = None) -> Split:
    """The split with lists of candidates: the item to be found, then sampled negatives.

    Args:
        everything: [U, I] all interactions of the training users.
        scratch: folder for lists that do not fit into memory; None: they do.

    Raises:
        ValueError: too few items are left to draw negatives from.
    """

    def held_out(part: HeldOut, name: str) -> HeldOut:
        assert part.train_rows is not None
        known, users = (everything, part.train_rows) if rules.candidates == "clean" else (part.fold_in, None)
        negatives = candidates.drawn(
            known, rules.negatives, kind=rules.candidates, seed=rules.seed, purpose=name, users=users
        )
        path = scratch and scratch / f"{name}.candidates"
        lists = candidates.with_positives(part.fold_out.indices, negatives, rules.negatives, path)
        return replace(part, candidates=lists)

    return replace(split, valid=held_out(split.valid, "valid"), test=held_out(split.test, "test"))
