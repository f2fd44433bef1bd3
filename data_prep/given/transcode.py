"""From a feature specification to a data set: people's own train and test files, whatever they are written in.

Only ids that occur in a row of a mapping are users and items, whatever cardinality is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.given.lists import Pairs, assemble, factorize, hold_out_validation
from data_prep.read.rows import Keys as Ids
from data_prep.split.result import Split
from data_prep.split.rules import SplitRules
from data_prep.write.feature_spec import SERIES_LENGTH, Columns, FeatureSpec, read_mapping, read_spec

VALID = "valid"


def source_files(path: Path) -> list[Path]:
    """The specification and every file that it names."""
    spec = read_spec(path)
    return [spec.path, *(file for chunks in spec.mappings.values() for chunk in chunks for file in chunk.files)]


def _series(
    columns: Columns, spec: FeatureSpec, mapping: str, user_ids: Ids, item_ids: Ids
) -> tuple[Pairs, npt.NDArray[np.int32]]:
    """The lists of candidates: user and positive of each, and its negatives [S, C - 1].

    Raises:
        ValueError: rows do not divide into lists, or a list has other than one positive or more than one user.
    """
    where, length = f"{spec.path}, mapping {mapping!r}", spec.series_length
    if length is None:
        raise ValueError(
            f"{spec.path}: metadata has no {SERIES_LENGTH}, the rows of one list of candidates in {mapping!r}"
        )
    rows = len(columns["user"])
    if not rows or rows % length:
        raise ValueError(
            f"{where}: {rows} rows do not divide into lists of {SERIES_LENGTH} = {length}; candidate lists must be of "
            "equal length"
        )
    users, items, labels = (columns[name].reshape(-1, length) for name in ("user", "item", "label"))
    if (mixed := (users != users[:, :1]).any(axis=1)).any():
        k = int(np.argmax(mixed))
        raise ValueError(f"{where}: list {k} (rows {k * length + 1} to {(k + 1) * length}) has more than one user")
    positive = labels > 0
    if (wrong := positive.sum(axis=1) != 1).any():
        k = int(np.argmax(wrong))
        raise ValueError(
            f"{where}: list {k} of user {user_ids[users[k, 0]]} (rows {k * length + 1} to {(k + 1) * length}) has "
            f"{positive[k].sum()} rows with label 1, expected one"
        )
    negatives = items[~positive].reshape(len(items), length - 1)
    return Pairs(users=users[:, 0], items=items[positive]), negatives.astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A specification and the original ids of its users and items, to check lists of candidates."""

    spec: FeatureSpec
    user_ids: Ids
    item_ids: Ids

    def require_disjoint(self, lists: Pairs, keys: npt.NDArray[np.int64], mapping: str) -> None:
        """Raise ValueError if a pair to be found is one of `keys` (row * items + column)."""
        both = np.isin(lists.users * len(self.item_ids) + lists.items, keys)
        if both.any():
            k = int(np.argmax(both))
            raise ValueError(
                f"{self.spec.path}, mapping {mapping!r}: user {self.user_ids[lists.users[k]]} has to find item "
                f"{self.item_ids[lists.items[k]]}, which is in another mapping too ({int(both.sum())} such lists)"
            )

    def require_users(self, lists: Pairs, trained: npt.NDArray[np.int64], mapping: str) -> None:
        """Raise ValueError if a list is of a user who is not among the `trained` rows."""
        unknown = ~np.isin(lists.users, trained)
        if unknown.any():
            user = self.user_ids[lists.users[np.argmax(unknown)]]
            raise ValueError(
                f"{self.spec.path}, mapping {mapping!r}: user {user} has no training row with a positive label "
                f"({int(unknown.sum())} such lists); a model knows nothing of such a user"
            )

    def cardinality_notes(self) -> list[str]:
        """A note for each declared cardinality with ids that do not occur."""
        notes = []
        for role, ids in (("user", self.user_ids), ("item", self.item_ids)):
            name = self.spec.channels[role]
            declared = self.spec.cardinalities[name]
            if declared is not None and declared > len(ids):
                notes.append(f"feature {name!r} has cardinality {declared:,}; the {len(ids):,} ids that occur are kept")
        return notes


def transcode(path: Path, rules: SplitRules) -> tuple[Split, list[str]]:
    """Read what a specification names; returns the data set and notes for its owner.

    A mapping "valid" of lists is the validation; without one, an item of every user is drawn from training.

    Raises:
        ValueError: anything wrong, naming file, chunk, feature and value.
    """
    spec = read_spec(path)
    columns = {"train": read_mapping(spec, "train", required=("user", "item")), "test": read_mapping(spec, "test")}
    if VALID in spec.mappings:
        columns[VALID] = read_mapping(spec, VALID)
    user_ids, item_ids = (_encode(columns, role) for role in ("user", "item"))
    lists = {m: _series(columns[m], spec, m, user_ids, item_ids) for m in ("test", VALID) if m in columns}
    test, test_negatives = lists["test"]
    known = _Known(spec=spec, user_ids=user_ids, item_ids=item_ids)
    train, width = columns["train"], len(item_ids)
    positive = train["label"] > 0
    every = train["user"] * width + train["item"]
    pairs = np.unique(every[positive])
    users, items = pairs // width, pairs % width
    if not len(users):
        raise ValueError(f"{spec.path}, mapping 'train': no row has a positive label")
    known.require_users(test, users, "test")
    known.require_disjoint(test, pairs, "test")
    if VALID not in lists:
        train_pairs, valid = hold_out_validation(users, items, None, rules.seed)
        valid_negatives = None
    else:
        train_pairs, (valid, valid_negatives) = Pairs(users=users, items=items), lists[VALID]
        known.require_users(valid, users, VALID)
        known.require_disjoint(valid, pairs, VALID)
        known.require_disjoint(test, valid.users * width + valid.items, "test")
    counts = {
        "rows_read": len(positive) + test_negatives.size + len(test.users),
        "duplicates_dropped": int(positive.sum()) - len(users),
        "events": len(users) + len(test.users) + (0 if VALID not in lists else len(valid.users)),
    }
    split = assemble(
        train_pairs,
        valid,
        test,
        user_ids=user_ids,
        item_ids=item_ids,
        rules=replace(rules, negatives=test_negatives.shape[1]),
        counts=counts,
        valid_negatives=valid_negatives,
        test_negatives=test_negatives,
    )
    return split, _label_notes(every[~positive], pairs) + known.cardinality_notes()


def _encode(columns: Mapping[str, Columns], role: str) -> Ids:
    """Replace the ids of a role by their place among those that occur in any mapping; returns these, ascending."""
    codes, ids = factorize(np.concatenate([of_mapping[role] for of_mapping in columns.values()]))
    ends = np.cumsum([len(of_mapping[role]) for of_mapping in columns.values()])
    for of_mapping, part in zip(columns.values(), np.split(codes.astype(np.int64), ends[:-1]), strict=True):
        of_mapping[role] = part
    return ids


def _label_notes(left_out: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> list[str]:
    """Notes about training rows with label 0.

    Args:
        left_out: [R] the pairs of these rows.
        pairs: distinct pairs with a positive label.
    """
    if not len(left_out):
        return []
    notes = [f"{len(left_out):,} training rows without a positive label were left out: negatives are drawn in training"]
    if both := int(np.isin(left_out, pairs).sum()):
        notes.append(f"{both:,} of these rows repeat a pair that another row labels positive; the pair stays positive")
    return notes
