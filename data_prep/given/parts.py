"""Training, validation and test interactions that are given as files of rows, or of one line a user.

The published splits of NGCF and LightGCN are such files. Every pair of the test is to be found among all items, also
those without a training interaction, as its authors do. Shape legend: E interactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from data_prep.encode import settle
from data_prep.encode.events import ITEM, Block, EventsInMemory, Facts
from data_prep.encode.gather import Part
from data_prep.encode.ids import encoded
from data_prep.split import per_user
from data_prep.split.by_interaction import DROPPED, TEST, TRAIN, VALID, Chosen, Roles, assemble
from data_prep.split.filters import Filtered
from data_prep.split.matrix import offsets
from data_prep.split.result import Split
from data_prep.split.rules import SplitRules

ROLES = {"train": TRAIN, "valid": VALID, "test": TEST}


@dataclass(frozen=True, kw_only=True)
class Given:
    """The rows of one file, or of several that belong together."""

    rows: Part
    kind: str
    """What the values are; one of `schema.KINDS`."""


def split(parts: Mapping[str, Given], rules: SplitRules, threshold: Mapping[str, float]) -> Split:
    """The data set of given parts.

    A pair that a part before has (training, validation, test) is left out of the later one and counted. Without a
    validation part a share of each user's training interactions is drawn for it.

    Args:
        parts: train, test and perhaps valid.
        threshold: of each kind of values.

    Raises:
        ValueError: a part holds no interaction, or none of its users is in training.
    """
    events, role, left_out = _joined(parts, threshold)
    if "valid" not in parts:
        role = _with_validation(events.block, role, rules)
    for name, number in ROLES.items():
        if not np.any(role == number):
            raise ValueError(
                f"--{name} holds no interaction{'' if name == 'train' else ' that is not in training already'}; "
                "check the file, --threshold and --validation-share"
            )
    lengths = np.bincount(events.block.rows()[role != DROPPED], minlength=len(events.user_ids))
    item_counts = np.bincount(events.block.items[role != DROPPED], minlength=len(events.item_ids))
    kept = Filtered(events=events, users=lengths > 0, items=item_counts > 0, lengths=lengths, item_counts=item_counts)
    found = assemble(Chosen(kept=kept, chooser=lambda: lambda sifted: role), None, all_items=True).split
    if not found.test.fold_out.nnz:
        raise ValueError("no user of --test has a training interaction; do --train and --test name users alike?")
    counts, notes = dict(found.counts), list(found.notes)
    for name, count in left_out.items():
        counts[f"{name}_pairs_given_before"] = count
        notes.append(f"{count:,} pairs of --{name} are in a part before it too, and are left out of it")
    if new := counts.get("new_users_in_test"):
        notes.append(f"{new:,} users of --test have no training interaction and are left out")
    return replace(found, counts=counts, notes=tuple(notes))


def _joined(parts: Mapping[str, Given], threshold: Mapping[str, float]) -> tuple[EventsInMemory, Roles, dict[str, int]]:
    """One block of all parts, the role of each interaction, and how many pairs of each part are left out."""
    names = list(parts)
    ids = {}
    for kind, column in (("user", "users"), ("item", "items")):
        keys = np.concatenate([getattr(parts[name].rows, column) for name in names])
        texts = [n for name in names for n in parts[name].rows.names.get(kind, ())]
        codes, table = encoded(keys, texts, kind)
        ends = np.cumsum([len(parts[name].rows.users) for name in names])
        ids[kind] = (np.split(codes, ends[:-1]), table)
    (users, user_table), (items, item_table) = ids["user"], ids["item"]
    shape = (len(user_table.ids), len(item_table.ids))
    keys_of, settled, before, left_out = [], [], np.empty(0, np.int64), {}
    for k, name in enumerate(names):
        given = parts[name]
        columns = settle.Columns(users=users[k], items=items[k], values=given.rows.values, times=given.rows.times)
        found = settle.settle(
            columns, *shape, threshold=threshold[given.kind], rule=settle.RULES[given.kind], order=ITEM
        )
        keys = found.block.rows() * shape[1] + found.block.items
        is_new = ~np.isin(keys, before)
        if count := int(np.count_nonzero(~is_new)):
            left_out[name] = count
        keys_of.append(keys[is_new])
        before = np.concatenate([before, keys[is_new]])
        settled.append(found)
    order = np.argsort(before)
    role = np.repeat([ROLES[name] for name in names], [len(keys) for keys in keys_of]).astype(np.int8)[order]
    rows, columns_of = np.divmod(before[order], shape[1])
    block = Block(first=0, indptr=offsets(np.bincount(rows, minlength=shape[0])), items=columns_of.astype(np.int32))
    read = sum(len(given.rows.users) + given.rows.left_out for given in parts.values())
    facts = Facts(
        rows_read=read,
        rows_overridden=sum(found.overridden for found in settled),
        rated_down=sum(found.rated_down for found in settled),
        rows_below=sum(found.rows_below for found in settled),
        rows_left_out=sum(given.rows.left_out for given in parts.values()),
    )
    events = EventsInMemory(block=block, user_ids=user_table.ids, item_ids=item_table.ids, facts=facts)
    return events, role, left_out


def _with_validation(block: Block, role: Roles, rules: SplitRules) -> npt.NDArray[np.int8]:
    """The roles, with a share of each user's training interactions drawn for validation."""
    is_train = role == TRAIN
    choose = per_user.Random(rules.seed, "given", 0.0, rules.validation_share)
    result = role.copy()
    result[is_train] = choose(block.kept(is_train))
    return result
