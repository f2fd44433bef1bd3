"""Starting from an older run: parameters of its best checkpoint, with items and users matched by id.

A model says which axes of its parameters are items or users (`Recommender.axes`). Of those, the slices of matched ids
are copied; new ids keep the values of a fresh model. All other parameters are copied whole. The optimizer starts anew.
Shape legend: I items or users of the new model, F of them fresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dacite
import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf

from recsys_core import run_manifest
from recsys_core.axes import ITEMS, OTHER, USERS
from recsys_core.config import plain
from recsys_core.dataset import SPLITS, Dataset
from recsys_core.errors import UserError
from recsys_core.files import publish
from recsys_core.id_places import places
from recsys_core.matrices import storable
from recsys_core.model import Recommender
from recsys_core.parquet import read_frame
from recsys_core.run_manifest import RunManifest
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.world import World

FLAG = "--warm-start"
Places = Mapping[str, npt.NDArray[np.int64]]
"""ITEMS and USERS -> [I] the row in the older model of each of ours, -1 for a new one."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """How many ids of the two data sets are the same."""

    matched: int
    new: int
    gone: int
    """In the older data set only."""

    def __str__(self) -> str:
        return f"{self.matched:,} matched, {self.new:,} new, {self.gone:,} gone"


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What a model was started from."""

    run: str
    """Folder of the older run."""
    step: int
    """Of its best checkpoint."""
    items: Matched
    users: Matched | None
    """None for a model that does not know its users by row."""
    held_out_trained: int = 0
    """Held-out users of ours that the older model was trained on; 0 where held-out users are training users anyway."""

    @property
    def note(self) -> str:
        """A sentence on what the metrics are worth; "" where there is nothing to say."""
        if not self.held_out_trained:
            return ""
        return (
            f"the older model was trained on {self.held_out_trained:,} of the users held out here, so their metrics "
            "are too high to be compared with those of a fresh model"
        )

    def __str__(self) -> str:
        users = f"; users: {self.users}" if self.users else ""
        return f"warm start from {self.run}, step {self.step:,}: items: {self.items}{users}"


def start(model: Recommender, folder: Path, world: World) -> WarmStart:
    """Give a fresh model the parameters of the best checkpoint of a run. Rank 0 reads; every rank has them then.

    Raises:
        SharedError: no run, one without a best checkpoint, of another model class or shape, of items of which none is
            here, or whose ids are not known any more.
    """
    found = world.run_on_rank0(lambda: asdict(_copied(model, folder)))
    world.broadcast_variables(model.variables)
    return dacite.from_dict(WarmStart, found)


def _copied(model: Recommender, folder: Path) -> WarmStart:
    if model.is_closed_form:
        raise UserError(f"{FLAG} is for models that are trained by steps; {type(model).__name__} has a closed form")
    if not folder.is_dir():
        raise UserError(f"{FLAG} {folder} does not exist")
    run = run_manifest.read(folder, FLAG, model.family, model.renamed)
    _check_class(model, run, folder)
    items, users = _ids(model, run, folder)
    older = _made(model, _settings(model, run.config), 1 if users is None else len(users), len(items))
    _check_shapes(model, older, folder)
    checkpoints = Checkpoints(folder / "checkpoints", keep=1, world=World(), model=older)
    step = checkpoints.best_step()
    checkpoints.restore_best()
    assert step is not None, "restore_best refuses a run without one"
    rows = {ITEMS: _item_rows(model, items, folder)}
    if model.needs_known_users:
        assert users is not None, "_ids refuses a run whose users are not known"
        rows[USERS] = places(users, users_of(model.data, "train"))
    _check_declared(model, older, rows)
    _copy(model, older, rows)
    return WarmStart(
        run=str(folder.absolute()),
        step=step,
        items=_matched(items, rows[ITEMS]),
        users=None if users is None or USERS not in rows else _matched(users, rows[USERS]),
        held_out_trained=0 if users is None else _held_out_among(users, model.data),
    )


# The older model


def _check_class(model: Recommender, run: RunManifest, folder: Path) -> None:
    """Refuse a run of another model class."""
    ours, preset = type(model).__name__, run.config.get("preset")
    if run.model and run.model != ours:
        raise UserError(f"{FLAG}: {folder} is a run of {run.model}, this is {ours}; start from a run of the same model")
    if not run.model and preset and model.presets and preset not in model.presets:  # a run of an earlier version
        raise UserError(f"{FLAG}: {folder} is a run of preset {preset}, which {ours} has not")


def _settings(model: Recommender, config: Mapping[str, Any]) -> dict[str, Any]:
    """The components of a run's configuration, which may be of an earlier version that had fewer settings."""
    rules = dacite.Config(cast=[tuple], type_hooks={float: float})
    try:
        return {
            name: dacite.from_dict(kind, plain(kind()) | dict(config.get(name) or {}), rules)
            for name, kind in model.configs.items()
        }
    except (dacite.DaciteError, TypeError, ValueError) as error:
        raise UserError(f"{FLAG}: the settings of the run cannot be read: {error}") from None


def _made(like: Recommender, settings: Mapping[str, Any], n_users: int, n_items: int) -> Recommender:
    """A model of the same class with other settings and sizes."""
    return type(like)(Dataset.empty(n_users, n_items), preset=like.preset or None, seed=like.seed, **settings)


def _free_shapes(model: Recommender) -> list[list[int]]:
    """The shape of every variable without its axes of items and users."""
    axes = {a.parameter.ref(): a.names for a in model.axes}
    return [
        [n for n, name in zip(v.shape, axes.get(v.ref(), [OTHER] * len(v.shape)), strict=True) if name == OTHER]
        for v in model.variables
    ]


def _check_shapes(model: Recommender, older: Recommender, folder: Path) -> None:
    """Refuse a model whose parameters differ in more than their items and users; says by which settings."""
    ours, theirs = _free_shapes(model), _free_shapes(older)
    if ours == theirs:
        return
    if not model.axes and model.settings == older.settings:
        raise UserError(
            f"{FLAG}: {type(model).__name__} does not say which axes of its parameters are items or users, and "
            f"{folder} has other numbers of them; declare them by `axes`"
        )
    differing = _shaping(model, older.settings) or ["its parameters"]
    raise UserError(f"{FLAG}: the model of {folder} has another shape: {'; '.join(differing)}")


def _shaping(model: Recommender, theirs: Mapping[str, Any]) -> list[str]:
    """Each setting that gives the model another shape than the older run's, as "latent is 100, there 200"."""
    expected, found = _free_shapes(_made(model, model.settings, 1, 2)), []
    for component, settings in theirs.items():
        for name, value in vars(settings).items():
            own = getattr(model.settings[component], name)
            if own == value:
                continue
            try:
                other = _made(model, {**model.settings, name: value}, 1, 2)
            except ValueError:  # it goes with another one only
                other = None
            if other is None or _free_shapes(other) != expected:
                found.append(f"{name} is {plain(own)!r}, there {plain(value)!r}")
    return found


# Ids


def users_of(data: Dataset, split: str) -> pd.Series:
    """[U] ids of the users of a split ("train", "valid" or "test"), by row."""
    table = data.users
    return table[table["split"] == split].sort_values("index")["user_id"].reset_index(drop=True)


def write_ids(folder: Path, data: Dataset) -> None:
    """Write the ids of a model's items and training users beside its checkpoints."""
    tables = {ITEMS: ("item_id", data.items["item_id"]), USERS: ("user_id", users_of(data, "train"))}
    for name, (column, ids) in tables.items():
        table = storable(pd.DataFrame({column: ids.reset_index(drop=True)}), column)
        publish(folder / f"{name}.parquet", table.to_parquet)


def _ids(model: Recommender, run: RunManifest, folder: Path) -> tuple[pd.Series, pd.Series | None]:
    """Ids of the older run's items and training users (None where they are not known, nor needed).

    They stand beside the checkpoints. Runs of earlier versions have them in their data set or in their export.
    """

    def stored(place: Path, name: str, column: str) -> pd.Series:
        return read_frame(place / f"{name}.parquet")[column]

    if (folder / "checkpoints" / f"{ITEMS}.parquet").is_file():
        return stored(folder / "checkpoints", ITEMS, "item_id"), stored(folder / "checkpoints", USERS, "user_id")
    if run.data is not None and (run.data / "manifest.json").is_file():
        data = Dataset.open(run.data).viewed(run.view)
        if run.fingerprint in (None, data.fingerprint):
            return data.items["item_id"], users_of(data, "train")
    if (folder / "export" / f"{ITEMS}.parquet").is_file():  # its users are training users where the model knows them
        users = stored(folder / "export", USERS, "user_id") if model.needs_known_users else None
        return stored(folder / "export", ITEMS, "item_id"), users
    raise UserError(
        f"{FLAG}: the ids of the items of {folder} are not known: it was trained by an earlier version, has no export, "
        f"and its data set ({run.data or 'in memory'}) is not there any more"
    )


def _item_rows(model: Recommender, items: pd.Series, folder: Path) -> npt.NDArray[np.int64]:
    own = model.data.items["item_id"]
    found = places(items, own)
    if (found < 0).all():
        raise UserError(
            f"{FLAG}: none of the {len(items):,} items of {folder} (as {items.iloc[0]!r}) is in {model.data.name} "
            f"(as {own.iloc[0]!r})"
        )
    return found


def _held_out_among(users: pd.Series, data: Dataset) -> int:
    """Held-out users of a data set that are among some users; 0 where they are its training users too."""
    if not data.is_split or data.holds_out_items:
        return 0
    return sum(int(np.count_nonzero(places(users, users_of(data, split)) >= 0)) for split in SPLITS)


def _matched(old: pd.Series, rows: npt.NDArray[np.int64]) -> Matched:
    found = int(np.count_nonzero(rows >= 0))
    return Matched(matched=found, new=len(rows) - found, gone=len(old) - len(np.unique(rows[rows >= 0])))


# Parameters


def _check_declared(model: Recommender, older: Recommender, rows: Places) -> None:
    """Refuse to copy whole what may be one row for each item, where a model declares nothing and the ids differ."""
    sizes = {len(found) for found in rows.values() if (found != np.arange(len(found))).any()}
    if not model.axes and any(set(v.shape) & sizes for v in older.variables):
        raise UserError(
            f"{FLAG}: {type(model).__name__} does not say which axes of its parameters are items or users, and these "
            "are others here or in another order; declare them by `axes`"
        )


def _copy(model: Recommender, older: Recommender, rows: Places) -> None:
    """Copy whole parameters, and of those with items or users the slices of matched ids."""
    axes = {a.parameter.ref(): a for a in model.axes}
    counts = {ITEMS: model.data.train.item_counts(), USERS: np.diff(model.data.train.indptr)}
    for ours, theirs in zip(model.variables, older.variables, strict=True):
        own = axes.get(ours.ref())
        names = own.names if own else (OTHER,) * len(ours.shape)
        value = _merged(ours, theirs, [rows.get(name) for name in names])
        if own is not None and own.is_bias:
            name = next(name for name in names if name != OTHER)
            _set_levels(value, rows[name] >= 0, counts[name], names.index(name))
        ours.assign(value)


def _merged(ours: tf.Variable, theirs: tf.Variable, rows: Sequence[npt.NDArray[np.int64] | None]) -> npt.NDArray:
    """The fresh values, with those of the older model where every axis is matched."""
    value = ours.numpy()
    here = [np.arange(n) if r is None else np.flatnonzero(r >= 0) for n, r in zip(value.shape, rows, strict=True)]
    there = [h if r is None else r[h] for h, r in zip(here, rows, strict=True)]
    if not value.shape:
        return theirs.numpy()
    value[np.ix_(*here)] = theirs.numpy()[np.ix_(*there)]
    return value


def _set_levels(value: npt.NDArray, is_matched: npt.NDArray[np.bool_], counts: npt.NDArray, axis: int) -> None:
    """Give new entries of a bias what matched ones with as many interactions have: the line of least squares over the
    logarithm of the count.

    At 0, as in a fresh model, a new item would stand above most others in a softmax, whose trained biases are about the
    logarithms of popularity less a constant; and Adam moves a bias by no more than the learning rate in a step.
    """
    table = np.moveaxis(value, axis, 0)
    logs = np.log1p(counts.astype(np.float64))
    if is_matched.all() or not is_matched.any():
        return
    design = np.stack([np.ones_like(logs), logs], axis=1)
    flat = table.reshape(len(table), -1).astype(np.float64)
    line = np.linalg.lstsq(design[is_matched], flat[is_matched], rcond=None)[0]
    table[~is_matched] = (design[~is_matched] @ line).reshape(table[~is_matched].shape)
