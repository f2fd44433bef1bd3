"""`Recommender`: everything that training, evaluation, baselines, export and serving ask of a model.

Shape legend: B users, I items, N interactions, C candidates, D width of item vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from recsys_core import numerics, recommending, saving
from recsys_core.axes import Axes
from recsys_core.config import EvaluationConfig, Preset, TrainingConfig
from recsys_core.config_changes import changed
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.input.batches import Histories, steps_per_epoch, train_batches
from recsys_core.input.chunks import HistoryPart
from recsys_core.phases import Phase
from recsys_core.score_precision import float32_scores, in_float32
from recsys_core.signatures import Exported, histories_of_padded, history_signatures
from recsys_core.world import World

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recommender", "float32_scores", "load"]


class Recommender(tf.Module):
    """A model over the users and items of a data set. A new model overrides `loss` and `scores`, or `solve`."""

    family: ClassVar[str] = ""
    """The package it belongs to, for run folders and exports."""
    presets: ClassVar[Mapping[str, Preset]] = {}
    """Named configurations; the first is the default."""
    configs: ClassVar[Mapping[str, type]] = {}
    """Component of the configuration -> its dataclass."""
    unit: ClassVar[str] = "users"
    """The examples of a training step, for reports."""
    loss_names: ClassVar[Sequence[str]] = ("loss",)
    """Names of the terms that `loss` returns, "loss" first."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Settings of earlier versions -> their names today."""
    earlier_runs: ClassVar[Mapping[str, Any]] = {}
    """Components that runs of earlier versions lack -> what those runs did."""
    has_compiled_step: bool = False
    """Whether XLA compiles `loss` on batches of fixed shape: after `prepare_training` with `step_bytes`, `batches` give
    elements whose fields have an axis [G] of parts first, and `loss` takes one part."""
    is_closed_form: ClassVar[bool] = False
    """Whether `solve` computes the parameters, without training steps."""
    needs_known_users: ClassVar[bool] = False
    """Whether it can score only users that it was trained on."""
    is_linear: ClassVar[bool] = False
    """Whether the scores of a history are the sum of the scores of its items, each as a history of its own, and those
    are the item's `item_similarities`."""
    exports_users: bool = False
    """Whether its export may hold what users have (`--export-users`); set before `exported` is called."""

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """
        Args:
            data: gives the numbers of users and items, and the ids.
            preset: named configuration to start from (default: the first).
            seed: root seed of initial values, order, dropout and sampling (default: the preset's).
            changes: settings of the model, by their names in its configuration.

        Raises:
            UserError: an unknown preset or setting (the known ones are listed), or a value that cannot be used.
        """
        super().__init__(name=type(self).__name__.lower())
        if not isinstance(data, Dataset):
            raise UserError(f"data is a {type(data).__name__}, expected a Dataset, as Dataset.from_frame(table)")
        if seed is not None and (not isinstance(seed, int) or seed < 0):
            raise UserError(f"seed is {seed!r}, expected a whole number from 0")
        if preset is not None and preset not in self.presets:
            raise UserError(f"unknown preset {preset!r}, known are: {', '.join(self.presets)}")
        self.preset = next(iter(self.presets), "") if preset is None else preset
        base = self.presets[self.preset].config if self.presets else None
        try:
            components = {name: getattr(base, name) if base else kind() for name, kind in self.configs.items()}
            settings = changed(components, changes)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.training: TrainingConfig = base.training if base else TrainingConfig()
        """The recommended training; a `Trainer` takes it where it is not told otherwise."""
        self.evaluation: EvaluationConfig = base.evaluation if base else EvaluationConfig()
        self.seed = self.training.seed if seed is None else seed
        self.compute = tf.float32
        numerics.use_float32_products()
        self._plain = _Untracked(data=data, settings=settings, cache={})

    @property
    def data(self) -> Dataset:
        """The data set that it was made for."""
        return self._plain.data

    @property
    def settings(self) -> Mapping[str, Any]:
        """Component -> its configuration."""
        return self._plain.settings

    @property
    def cache(self) -> dict[str, Any]:
        """Values computed from the data set, kept for the next call."""
        return self._plain.cache

    @property
    def n_items(self) -> int:
        return self.data.n_items

    # Training

    @property
    def compute(self) -> tf.DType:
        """Type of the operands of matrix products in training; float32 inside methods under `float32_scores`."""
        return tf.float32 if in_float32() else self._compute

    @compute.setter
    def compute(self, value: tf.DType) -> None:
        self._compute = value

    @property
    def parameters(self) -> list[tf.Variable]:
        """Every trained variable, in a fixed order."""
        return list(self.trainable_variables)

    @property
    def phases(self) -> Sequence[Phase]:
        """The parts of a training that take turns; one part of all parameters where a model does not say otherwise."""
        return [Phase(parameters=self.parameters, loss=self.loss)]

    @property
    def kernels(self) -> list[tf.Variable]:
        """The parameters that L2 and weight decay act on."""
        return []

    @property
    def axes(self) -> Sequence[Axes]:
        """The parameters with an axis of items or users, for `--warm-start`; the others are copied whole."""
        return ()

    @property
    def sparse_tables(self) -> list[tf.Variable]:
        """Embedding tables whose gradients are exchanged and applied by row; known after `prepare_training`."""
        return []

    @property
    def resolved_settings(self) -> Mapping[str, Any]:
        """`settings` with values in place of "by default", for comparing and describing."""
        return self.settings

    def check_training(self, training: TrainingConfig, evaluation: EvaluationConfig, ranks: int) -> None:
        """Refuse a training that cannot work.

        Raises:
            UserError: a batch smaller than the ranks, or a data set that the model cannot learn from.
        """
        del evaluation
        if training.batch_size < ranks:
            raise UserError(
                f"--batch-size is {training.batch_size}, expected at least one user for each of the {ranks} ranks"
            )

    def prepare_training(self, training: TrainingConfig, world: World, *, step_bytes: float = 0.0) -> None:
        """Make whatever `loss` needs besides the parameters; called once, after `compute` is set.

        Args:
            step_bytes: memory for the temporary arrays of a compiled step; 0 for the sparse step.
        """

    @property
    def parts_per_step(self) -> int:
        """Parts of a rank's share of a batch in the compiled step; known after `prepare_training`."""
        return 1

    def initialise(self, trainer: Any) -> bool:
        """Give the fresh parameters other values before the first step, as pre-training does.

        Args:
            trainer: the `Trainer` that is about to train this model.

        Returns:
            False when that was interrupted and the run has to end.
        """
        del trainer
        return True

    def steps_per_epoch(self, training: TrainingConfig) -> int:
        """Global batches in an epoch."""
        return steps_per_epoch(self.data.n_users, training.batch_size)

    @property
    def examples_per_epoch(self) -> int:
        """Examples, in `unit`, in an epoch."""
        return self.data.n_users

    @property
    def ordered_per_epoch(self) -> int:
        """Examples that an epoch puts in a random order."""
        return self.data.n_users

    def batches(self, training: TrainingConfig, world: World, start_step: int, total_steps: int) -> tf.data.Dataset:
        """This rank's training batches from one step to another."""
        return train_batches(
            self.data.train,
            seed=self.seed,
            batch_size=training.batch_size,
            world=world,
            start_step=start_step,
            total_steps=total_steps,
        )

    def loss(self, batch: Any, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of each loss term [], "loss" being minimised; shares add up over ranks to the global mean.

        Args:
            batch: an element of `batches`.
            progress: [] share of the run's updates that are done, for schedules.

        It runs in a graph, without AutoGraph: use `tf.cond`, `tf.where` and `tf.while_loop` where a decision depends on
        a tensor, or decorate the method with `tf.function`. The same holds for `scores`.
        """
        raise NotImplementedError(f"{type(self).__name__} is not trained by steps")

    def allocate(self) -> None:
        """Make the parameters of a closed form, before `solve`, `load` or rank 0 gives them values."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form")

    def solve(self) -> None:
        """Compute the parameters of a closed form."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form")

    # Scores

    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] float32 score of every item for B users; no dropout, no noise."""
        raise NotImplementedError

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """`scores` of histories int32 [B, L] padded with I.

        A model that is to be converted overrides this with operators that inference engines take.
        """
        return self.scores(histories_of_padded(item_ids, self.n_items))

    def compiled_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """`padded_scores` in operators that XLA compiles; overridden where others are faster there."""
        return self.padded_scores(item_ids)

    @property
    def score_bytes(self) -> int:
        """Bytes of the arrays that scoring all items for one user takes, on the device."""
        return 16 * self.n_items

    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        """`scores` in operators that XLA compiles; needed where `has_compiled_step`."""
        raise NotImplementedError

    def part_candidate_scores(self, part: HistoryPart, candidates: tf.Tensor) -> tf.Tensor:
        """[P, C] `part_scores` of int32 candidates [P, C]."""
        return tf.gather(self.part_scores(part), candidates, batch_dims=1)

    def candidate_scores(self, histories: Histories, candidates: tf.Tensor) -> tf.Tensor:
        """[B, C] float32 scores of int32 candidates [B, C] (any value where a candidate is -1)."""
        return tf.gather(self.scores(histories), tf.maximum(candidates, 0), batch_dims=1)

    def item_vectors(self) -> tf.Tensor:
        """[I, D] a vector of each item, close where items are alike."""
        raise UserError(f"{type(self).__name__} has no item vectors; use Ease, MultVae or NeuMf for similar items")

    def item_similarities(self, item: int) -> tf.Tensor:
        """[I] similarity of every item to one: the cosine of their vectors."""
        unit = tf.math.l2_normalize(self.item_vectors(), axis=1)
        return tf.linalg.matvec(unit, unit[item])

    # Use

    def exported(self, data: Dataset, top_k: int) -> Exported:
        """The module and the signatures that an export holds."""
        return history_signatures(self, data, top_k)

    def recommend(
        self,
        users: Sequence[Any] = (),
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: Sequence[Any] | None = None,
        deny: Sequence[Any] = (),
        histories: Mapping[Any, Sequence[Any]] | None = None,
    ) -> pd.DataFrame:
        """The best items of each user: a table of user, rank (from 1), item, title (if the data set has any), score.

        Args:
            users: ids of users of the data set, held-out ones included (of training users, where the model needs that).
            exclude_seen: leave out the items that a user has.
            allow: ids of the only items to recommend (None: all).
            deny: ids of items not to recommend.
            histories: other users: any name -> ids of the items that this user has.

        Raises:
            UserError: a user or an item that the data set does not have, or k below 1.
        """
        return recommending.recommend(
            self, users, k, exclude_seen=exclude_seen, allow=allow, deny=deny, histories=histories or {}
        )

    def similar_items(self, item: Any, k: int = 10) -> pd.DataFrame:
        """The most similar items to one: a table of item, rank (from 1), similar_item, title (if there are any), score.

        Raises:
            UserError: an item that the data set does not have, or k below 1.
        """
        return recommending.similar_items(self, item, k)

    def save(self, folder: Path | str) -> None:
        """Write settings, parameters and item ids into a folder; `load` reads it.

        Raises:
            UserError: the place cannot be written.
        """
        saving.save(self, Path(folder))


class _Untracked:
    """Plain values beside a module's variables, which TensorFlow must neither track nor save."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def load(folder: Path | str, data: Dataset | None = None) -> Recommender:
    """A model that `Recommender.save` wrote.

    Args:
        data: the data set whose users it is to recommend for; without it the model knows its items, and takes
            `histories`.

    Raises:
        UserError: the folder holds no model, a damaged one, or one of other items than the data set.
    """
    return saving.load(Path(folder), data)
