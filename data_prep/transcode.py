"""From a feature specification to a data set: people's own train and test files, whatever they are written in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.feature_spec import SERIES_LENGTH, Columns, FeatureSpec, read_mapping, read_spec
from data_prep.leave_one_out import Pairs, assemble, hold_out_validation
from data_prep.split import Split, SplitRules

VALID = "valid"


def source_files(path: Path) -> list[Path]:
    """The specification and every file that it names."""
    spec = read_spec(path)
    return [spec.path, *(file for chunks in spec.mappings.values() for chunk in chunks for file in chunk.files)]


def _series(columns: Columns, spec: FeatureSpec, mapping: str) -> tuple[Pairs, npt.NDArray[np.int32]]:
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
            f"{where}: list {k} of user {users[k, 0]} (rows {k * length + 1} to {(k + 1) * length}) has "
            f"{positive[k].sum()} rows with label 1, expected one"
        )
    negatives = items[~positive].reshape(len(items), length - 1)
    return Pairs(users=users[:, 0], items=items[positive]), negatives.astype(np.int32)


def _require_disjoint(pairs: Pairs, keys: npt.NDArray[np.int64], n_items: int, spec: FeatureSpec, mapping: str) -> None:
    both = np.isin(pairs.users * n_items + pairs.items, keys)
    if both.any():
        k = int(np.argmax(both))
        raise ValueError(
            f"{spec.path}, mapping {mapping!r}: user {pairs.users[k]} has to find item {pairs.items[k]}, which is in "
            f"another mapping too ({int(both.sum())} such lists)"
        )


def _known_users(pairs: Pairs, trained: npt.NDArray[np.bool_], spec: FeatureSpec, mapping: str) -> None:
    unknown = ~trained[pairs.users]
    if unknown.any():
        user = pairs.users[np.argmax(unknown)]
        raise ValueError(
            f"{spec.path}, mapping {mapping!r}: user {user} has no training row with a positive label "
            f"({int(unknown.sum())} such lists); a model knows nothing of such a user"
        )


def transcode(path: Path, rules: SplitRules) -> tuple[Split, list[str]]:
    """Read what a specification names; returns the data set and notes for its owner.

    A mapping "valid" of lists is the validation; without one, an item of every user is drawn from training.

    Raises:
        ValueError: anything wrong, naming file, chunk, feature and value.
    """
    spec = read_spec(path)
    train = read_mapping(spec, "train", required=("user", "item"))
    test, test_negatives = _series(read_mapping(spec, "test"), spec, "test")
    given = _series(read_mapping(spec, VALID), spec, VALID) if VALID in spec.mappings else None
    largest = _cardinalities(spec, [train, *(read_mapping(spec, m) for m in ("test", VALID) if m in spec.mappings)])
    positive = train["label"] > 0
    pairs = np.unique(train["user"][positive] * largest["item"] + train["item"][positive])
    users, items = pairs // largest["item"], pairs % largest["item"]
    if not len(users):
        raise ValueError(f"{spec.path}, mapping 'train': no row has a positive label")
    trained = np.zeros(largest["user"], bool)
    trained[users] = True
    _known_users(test, trained, spec, "test")
    _require_disjoint(test, pairs, largest["item"], spec, "test")
    if given is None:
        train_pairs, valid = hold_out_validation(users, items, None, rules.seed)
        valid_negatives = None
    else:
        train_pairs, (valid, valid_negatives) = Pairs(users=users, items=items), given
        _known_users(valid, trained, spec, VALID)
        _require_disjoint(valid, pairs, largest["item"], spec, VALID)
        _require_disjoint(test, valid.users * largest["item"] + valid.items, largest["item"], spec, "test")
    notes = []
    if dropped := int((~positive).sum()):
        notes.append(
            f"{dropped:,} training rows without a positive label were left out: negatives are drawn in training"
        )
    counts = {
        "rows_read": len(positive) + test_negatives.size + len(test.users),
        "duplicates_dropped": int(positive.sum()) - len(users),
        "events": len(users) + len(test.users) + (0 if given is None else len(valid.users)),
    }
    split = assemble(
        train_pairs,
        valid,
        test,
        user_ids=np.arange(largest["user"]),
        item_ids=np.arange(largest["item"]),
        rules=replace(rules, negatives=test_negatives.shape[1]),
        counts=counts,
        valid_negatives=valid_negatives,
        test_negatives=test_negatives,
    )
    return split, notes


def _cardinalities(spec: FeatureSpec, mappings: list[Columns]) -> dict[str, int]:
    """Users and items: as declared, or the largest id of all mappings and one."""
    found = {}
    for role in ("user", "item"):
        declared = spec.cardinalities[spec.channels[role]]
        found[role] = declared or 1 + max(int(columns[role].max(initial=0)) for columns in mappings)
    return found
