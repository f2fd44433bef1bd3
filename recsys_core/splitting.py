"""Splitting a data set in memory, by the code and the random streams of `python -m data_prep`.

The same interactions give the same split here and there. Shape legend: U users, I items, E interactions.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from data_prep.encode.events import Block, EventsInMemory, Facts
from data_prep.read import moments
from data_prep.read.schema import Schema
from data_prep.split import by_time, leave_one_out, per_user, result, rules, users
from data_prep.split.filters import Filtered, filtered
from data_prep.split.matrix import Matrix
from data_prep.split.rules import LIANG2018_SEED as SEED
from data_prep.split.rules import SplitRules
from recsys_core.errors import UserError
from recsys_core.interactions import events_of
from recsys_core.matrices import Csr, ExtraItems, HeldOut, Parts, item_table, user_table

ARGUMENTS = {
    "held-out-users": "held_out",
    "held-out-share": "held_out",
    "validation-share": "validation",
    "fold-out-share": "fold_out",
}
"""Flag of the command -> the rule here, where it has another name."""
Divide = Callable[[Filtered, Schema], result.Split]


def split(data: Any, protocol: str, given: Mapping[str, Any]) -> Parts:
    """See `Dataset.split`."""
    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}, known are: {', '.join(PROTOCOLS)}")
    known = [name for name, p in inspect.signature(PROTOCOLS[protocol]).parameters.items() if p.kind != p.VAR_KEYWORD]
    known += FILTERS
    for name in given:
        if name not in known:
            raise UserError(f"unknown rule {name!r} of split({protocol!r}), known are: {', '.join(known)}")
    chosen, divide = PROTOCOLS[protocol](**given)
    schema = Schema(names=(), user="", item="", time="time" if data.time_unit else None, types={},
                    time_unit=data.time_unit)  # fmt: skip
    try:
        found = divide(filtered(_events(data), chosen), schema)
    except ValueError as error:
        raise UserError(_in_python(str(error))) from None
    return _parts(data, found)


FILTERS = ("min_user_items", "min_item_users", "k_core", "max_user_items")


def _in_python(message: str) -> str:
    """A message of the command with the names of rules instead of flags."""
    return re.sub(r"--([a-z-]*[a-z])", lambda m: ARGUMENTS.get(m[1], m[1].replace("-", "_")), message)


def _events(data: Any) -> EventsInMemory:
    """The interactions of a data set that is not split."""
    if data.events is not None:
        return data.events
    train = data.train
    return events_of(
        Block(first=0, indptr=train.indptr, items=train.indices), train.n_items, Facts(rows_read=len(train.indices))
    )


def _csr(matrix: Matrix) -> Csr:
    return Csr(indptr=matrix.indptr, indices=matrix.indices, n_items=matrix.n_items)


def _parts(data: Any, found: result.Split) -> Parts:
    """The data set of a split, with the ids of the data set that was split."""
    train = _csr(found.train)
    user_ids, items = data.users["user_id"], data.items

    def ids(places: pa.Array) -> pd.Index:
        return pd.Index(user_ids.iloc[places.to_numpy()])

    def held_out(part: result.HeldOut) -> HeldOut:
        return HeldOut(
            fold_in=_csr(part.fold_in),
            fold_out=_csr(part.fold_out),
            train_rows=part.train_rows,
            candidates=part.candidates,
        )

    of_splits = {"train": ids(found.train_user_ids)}
    if found.test.train_rows is None:
        of_splits |= {"valid": ids(found.valid.user_ids), "test": ids(found.test.user_ids)}
    columns = found.item_ids.to_numpy()
    extra = None
    if found.extra_item_ids is not None and found.valid.extra is not None and found.test.extra is not None:
        matrices = (_csr(matrix).to_scipy() for matrix in (found.valid.extra, found.test.extra))
        extra = ExtraItems(items.iloc[found.extra_item_ids.to_numpy()], *matrices)
    return Parts(
        train=train,
        valid=held_out(found.valid),
        test=held_out(found.test),
        item_frame=item_table(items["item_id"].to_numpy()[columns], items["title"].to_numpy()[columns], train),
        user_frame=user_table(of_splits),
        extra=extra,
        notes=tuple(map(_in_python, found.notes)),
        counts=dict(found.counts),
    )


def split_users(
    held_out: float = 0.1, fold_out: float = 0.2, seed: int = SEED, **filters: Any
) -> tuple[SplitRules, Divide]:
    """Users held out (strong generalisation; Liang et al. 2018, section 4.1).

    Args:
        held_out: users for validation, and as many for the test: a share below 1, else a number.
        fold_out: share of a held-out user's items that is to be found.
        filters: see `FILTERS`; users with fewer than min_user_items (5) are left out.

    Raises:
        UserError: too few users.
    """
    if not 0 < fold_out < 1 or held_out <= 0:
        raise UserError(
            f"held_out is {held_out} and fold_out {fold_out}, expected a share or a number of users above 0, and a "
            "share between 0 and 1"
        )
    chosen = SplitRules(held_out_users=held_out, fold_out_share=fold_out, seed=seed, **filters)
    return chosen, lambda kept, schema: users.split(kept, chosen)


def split_leave_one_out(
    negatives: int = 99, candidates: str = "clean", seed: int = SEED, **filters: Any
) -> tuple[SplitRules, Divide]:
    """Each user's latest item is for the test, the one before it for validation (He et al. 2017, section 4.1).

    Without times the two are drawn by `seed`. Each held-out item has sampled negatives.

    Args:
        negatives: items without an interaction in each list of candidates.
        candidates: "clean" (distinct items that the user never had) or "mlperf" (as MLPerf drew them).
        filters: see `split_users`.

    Raises:
        UserError: nobody has three items, or too few items are left to draw negatives from.
    """
    if candidates not in ("clean", "mlperf"):
        raise UserError(f"candidates is {candidates!r}, expected clean or mlperf")
    chosen = SplitRules(protocol=rules.LEAVE_ONE_OUT, negatives=negatives, candidates=candidates, seed=seed, **filters)
    return chosen, lambda kept, schema: leave_one_out.split(kept, chosen)


def split_by_time(
    validation_from: Any = "", test_from: Any = "", held_out: float = 0.1, validation: float = 0.1, **filters: Any
) -> tuple[SplitRules, Divide]:
    """Training before one moment, validation from it, the test from another one, for all users.

    Args:
        validation_from, test_from: moments as ISO 8601 texts, dates, or numbers in the unit of the times; "": by the
            shares.
        held_out: share of all interactions for the test, where test_from is not given.
        validation: share of all interactions for validation, where validation_from is not given.
        filters: see `split_users`.

    Raises:
        UserError: there are no times, or a part would be empty.
    """
    _check_shares(held_out, validation)
    texts = [t.isoformat() if hasattr(t, "isoformat") else str(t) for t in (validation_from, test_from)]
    chosen = SplitRules(protocol=rules.TIME, held_out_share=held_out, validation_share=validation, **filters)

    def divide(kept: Filtered, schema: Schema) -> result.Split:
        first, second = (moments.moment(text, schema) if text else None for text in texts)
        return by_time.split(kept, chosen, first, second, shown=lambda value: moments.written(value, schema.time_unit))

    return chosen, divide


def split_per_user(
    held_out: float = 0.2, validation: float = 0.1, choice: str = rules.RANDOM, seed: int = SEED, **filters: Any
) -> tuple[SplitRules, Divide]:
    """A share of every user's interactions held out (the protocol of NGCF and LightGCN).

    Args:
        held_out: share of each user's interactions for the test.
        validation: share of them for validation.
        choice: "random", or "latest" by time.
        filters: see `split_users`.

    Raises:
        UserError: the latest are asked for and there are no times, or a part would be empty.
    """
    _check_shares(held_out, validation)
    if choice not in rules.CHOICES:
        raise UserError(f"choice is {choice!r}, expected {' or '.join(rules.CHOICES)}")
    chosen = SplitRules(
        protocol=rules.PER_USER,
        held_out_share=held_out,
        validation_share=validation,
        choice=choice,
        seed=seed,
        **filters,
    )
    return chosen, lambda kept, schema: per_user.split(kept, chosen)


def _check_shares(held_out: float, validation: float) -> None:
    if not (held_out > 0 and validation > 0 and held_out + validation < 1):
        raise UserError(
            f"held_out is {held_out} and validation {validation}, expected shares above 0 that are below 1 together"
        )


PROTOCOLS: Mapping[str, Callable[..., tuple[SplitRules, Divide]]] = {
    "users": split_users,
    "leave-one-out": split_leave_one_out,
    "time": split_by_time,
    "per-user": split_per_user,
}
