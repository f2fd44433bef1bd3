"""The parts of a training run, made and joined: step, optimizer, checkpoints, evaluators. `Trainer.fit` uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core import numerics
from recsys_core.baselines.base import Baseline
from recsys_core.baselines.reporting import Lines
from recsys_core.config import EvaluationConfig, HardwareConfig, TrainingConfig, plain
from recsys_core.dataset import Dataset
from recsys_core.errors import NonFiniteError
from recsys_core.evaluation import baselines
from recsys_core.evaluation.condition import check_decides
from recsys_core.evaluation.criteria import Criteria, criteria
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.evaluation.metric_names import ALL, Metric
from recsys_core.input.order import kind_of_order
from recsys_core.model import Recommender
from recsys_core.phases import Phase, alternates
from recsys_core.training import identity, precision
from recsys_core.training.alternation import Alternation
from recsys_core.training.averaging import Averages
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.training.kinds import is_compiled, step_bytes
from recsys_core.training.optimizer import Adam
from recsys_core.training.schedules import learning_rate
from recsys_core.training.state import Plan, TrainState
from recsys_core.training.step import TrainStep
from recsys_core.world import World


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a model is to be trained and evaluated."""

    training: TrainingConfig
    evaluation: EvaluationConfig
    hardware: HardwareConfig


def check_task(model: Recommender, data: Dataset, settings: RunSettings, ranks: int) -> Criteria:
    """Refuse a training that cannot work, before anything is written.

    Returns:
        The parsed evaluation settings.

    Raises:
        ValueError: a data set that is not split or not the model's, metrics that it cannot have, a step that the model
            has not, or what the model refuses.
    """
    if not data.is_split:
        data.held_out("valid")  # raises
    if data is not model.data and (data.fingerprint, data.view) != (model.data.fingerprint, model.data.view):
        raise ValueError(f"{data.name} is not the data set that the model was made for, or another view of it")
    wanted = criteria(settings.evaluation, data)
    check_decides(wanted.primary, "--primary")
    check_candidates(wanted, data)
    model.check_training(settings.training, settings.evaluation, ranks)
    if not model.is_closed_form:
        is_compiled(model, settings.hardware)  # raises
    return wanted


def check_candidates(wanted: Criteria, data: Dataset) -> None:
    """Refuse sampled metrics where there are no candidates.

    Raises:
        ValueError: names the metric and how to prepare such a data set.
    """
    sampled = [m for m in wanted.final_metrics if m.is_sampled]
    if sampled and not data.has_candidates:
        raise ValueError(
            f"{sampled[0]} needs lists of candidates, which {data.name} has not; prepare it with "
            f"--protocol leave-one-out, or use {sampled[0].under(ALL)}"
        )


class TrainTask:
    """The parts of one run of a model on a data set."""

    def __init__(
        self,
        model: Recommender,
        data: Dataset,
        run_dir: Path,
        settings: RunSettings,
        wanted: Criteria,
        world: World,
        schedule_epochs: int | None = None,
    ) -> None:
        """
        Args:
            wanted: the parsed evaluation settings (`check_task`).
            schedule_epochs: see `RunManifest.schedule_epochs`.
        """
        self.model, self.data, self.run_dir, self.settings = model, data, run_dir, settings
        self.criteria, self._world = wanted, world
        training = settings.training
        numerics.use_float32_products()
        if settings.hardware.deterministic:
            numerics.use_deterministic_operators()
        self.precision = precision.resolve(settings.hardware.precision, world)
        model.compute = self.precision.compute
        self.step_bytes = 0.0 if model.is_closed_form else step_bytes(model, settings.hardware, world)
        if not model.is_closed_form:
            model.prepare_training(training, world, step_bytes=self.step_bytes)
        per_epoch = 0 if model.is_closed_form else model.steps_per_epoch(training)
        self.plan = Plan(
            total_steps=training.epochs * per_epoch,
            steps_per_epoch=per_epoch,
            evaluate_every=max(training.evaluate_every * per_epoch, 1),
            steps_per_call=training.steps_per_call,
            within_epochs=not model.is_closed_form and alternates(model.phases),
        )
        self._schedule_steps = (schedule_epochs or training.epochs) * per_epoch
        self.train_step = self._make_step(training)
        self._averages = (
            Averages(self._trained(), training.average) if training.average and not model.is_closed_form else None
        )
        self.checkpoints = Checkpoints(
            run_dir / "checkpoints",
            keep=training.keep_checkpoints,
            world=world,
            model=model,
            optimizer=self.train_step.optimizer,
            loss_scale=self.train_step.loss_scale,
            step=self.train_step.step,
            **({"averages": self._averages} if self._averages else {}),
        )
        final = self._make_evaluator("valid", wanted.final_metrics)
        self._final_evaluators = {"valid": final, "test": final.of(data.held_out("test"))}
        same = wanted.metrics == wanted.final_metrics  # then one graph less is made
        self._evaluator = final if same else self._make_evaluator("valid", wanted.metrics)

    def _trained(self) -> list[tf.Variable]:
        """The parameters that some phase trains, in the model's order."""
        trained = {variable.ref() for phase in self.model.phases for variable in phase.parameters}
        return [variable for variable in self.model.parameters if variable.ref() in trained]

    def _make_step(self, training: TrainingConfig) -> TrainStep | Alternation:
        """The training step; with a closed form one without parameters, with several phases one for each."""
        model = self.model
        if model.is_closed_form:
            return self._step_of(Phase(parameters=[], loss=model.loss), 1.0, training, None)
        phases, steps = model.phases, list[TrainStep]()
        cycle = sum(phase.epochs for phase in phases)
        for phase in phases:
            steps.append(self._step_of(phase, phase.epochs / cycle, training, steps[-1] if steps else None))
        return Alternation(phases, steps, self.plan.steps_per_epoch) if alternates(phases) else steps[0]

    def _step_of(self, phase: Phase, share: float, training: TrainingConfig, before: TrainStep | None) -> TrainStep:
        """
        Args:
            share: of all steps, those of this phase.
            before: the step of the phase before this one.
        """
        model = self.model
        trained = {variable.ref() for variable in phase.parameters}
        adam = Adam(
            phase.parameters,
            beta1=training.beta1,
            beta2=training.beta2,
            epsilon=training.epsilon,
            l2=training.l2,
            weight_decay=training.weight_decay,
            decayed=[kernel for kernel in model.kernels if kernel.ref() in trained],
        )
        return TrainStep(
            phase.loss,
            model.loss_names,
            phase.parameters,
            adam,
            lambda p: learning_rate(p, training.learning_rate, training.learning_rate_schedule, training.warmup),
            total_steps=max(round(self._schedule_steps * share), 1),
            world=self._world,
            precision=self.precision,
            sparse_tables=model.sparse_tables,
            compiled_parts=model.parts_per_step if self.step_bytes else 0,
            exchange=self.settings.hardware.exchange,
            before=before,
        )

    def _make_evaluator(self, split: str, metrics: Sequence[Metric]) -> Evaluator:
        return Evaluator(
            self.data.held_out(split),
            metrics,
            world=self._world,
            n_items=self.data.n_items,
            block_size=self.settings.evaluation.evaluation_block,
            device_bytes=self.step_bytes,
            train=self.data.train,
        )

    @property
    def primary(self) -> str:
        """The metric that decides which checkpoint is best."""
        return str(self.criteria.primary)

    @property
    def target(self) -> tuple[str, float] | None:
        """Metric and value at which training stops."""
        wanted = self.criteria.target
        return (str(wanted.metric), wanted.value) if wanted else None

    @property
    def examples_per_step(self) -> float:
        return self.model.examples_per_epoch / max(self.plan.steps_per_epoch, 1)

    def batches(self, start_step: int) -> Any:
        """Iterator over this rank's training batches."""
        return iter(self.model.batches(self.settings.training, self._world, start_step, self.plan.total_steps))

    def solve(self, say: Callable[[str], None]) -> None:
        """Compute the parameters of a closed form on rank 0, and send them to the others.

        Args:
            say: told how far a long fit is, in lines.
        """
        if isinstance(self.model, Baseline):
            self.model.report = Lines(f"fitting {self.model.family}", say)
        self._world.run_on_rank0(self.model.solve)
        if not self._world.is_rank0:
            self.model.allocate()
        self._world.broadcast_variables(self.model.parameters)

    def start_fresh(self) -> TrainState:
        """The state of a new run. Every rank draws the same parameters; those of ranks that do not are rank 0's."""
        self._world.make_alike(self.model.variables)
        return TrainState()

    def restore(self, say: Callable[[str], None]) -> TrainState:
        """The state of the last checkpoint that is whole.

        Args:
            say: prints a line on rank 0.

        Raises:
            SharedError: the checkpoints are of a run with other settings, or all damaged; or one is in the middle of
                an epoch whose order this version does not make.
        """
        found, notes = self.checkpoints.restore_last(self._check_continues)
        state = TrainState(**found["progress"])
        if self._averages:
            self._averages.swap()  # see `save`
        for note in (*notes, *self.checkpoints.settle_best(state, self.primary)):
            say(f"note: {note}")
        return state

    def identity(self) -> dict[str, Any]:
        """Everything that changes the numbers of this run, as JSON values."""
        training = {k: v for k, v in asdict(self.settings.training).items() if k not in identity.FREE_OF_IDENTITY}
        components = {name: plain(component) for name, component in self.model.resolved_settings.items()}
        data = {"precision": self.precision.name, "primary": self.primary, "data_set": self.data.fingerprint}
        data["exchange"] = self.settings.hardware.exchange
        order = kind_of_order(self.model.ordered_per_epoch)
        return {**components, **training, **data, "seed": self.model.seed, "order": order}

    def check_identity(self, state: Mapping[str, Any], longer: bool = False) -> None:
        """Refuse the checkpoint of a run with other settings; `longer` allows more epochs (`identity.check_same`)."""
        model = self.model
        names: dict[str, Any] = {"renamed": model.renamed, "earlier": model.earlier_runs}
        identity.check_same(state, self.identity(), self.run_dir, **names, longer=longer)

    def _check_continues(self, state: Mapping[str, Any]) -> None:
        self.check_identity(state, longer=True)
        identity.check_order(state, self.identity(), self.run_dir, self.plan.steps_per_epoch)

    def _evaluated_parameters(self) -> AbstractContextManager[None]:
        """The parameters that are evaluated and kept stand in the model while the block runs."""
        return self._averages.in_place() if self._averages else nullcontext()

    def evaluate(self) -> Evaluation:
        """The model on the validation users, with the mean of its parameters where averaging is on."""
        self.update_averages()
        with self._evaluated_parameters():
            return self._evaluator.evaluate(self.model)

    def update_averages(self) -> None:
        """Take the parameters into their mean, where averaging is on; before its first epoch they replace the mean."""
        if self._averages:
            first = self.settings.training.average_from * self.plan.steps_per_epoch
            if self.train_step.step <= first:
                self._averages.restart()
            self._averages.update()
            if self.train_step.step < first:  # the next one may be after the first epoch
                self._averages.restart()

    def evaluate_final(self) -> dict[str, Evaluation]:
        """ "valid" and "test" -> the model, as it is, on these users."""
        return {split: evaluator.evaluate(self.model) for split, evaluator in self._final_evaluators.items()}

    def evaluate_baselines(self, say: Callable[[str], None]) -> dict[str, dict[str, Evaluation]]:
        """Baseline -> split -> evaluation.

        Args:
            say: told how far a long fit is, in lines.
        """
        return baselines.evaluate(
            self.criteria.baselines,
            self.data,
            self._final_evaluators,
            ease_regularization=self.settings.evaluation.ease_regularization,
            world=self._world,
            say=say,
        )

    def check_learnt(self, state: TrainState) -> None:
        """Refuse a training in which loss scaling skipped every step.

        Raises:
            NonFiniteError: no update was made.
        """
        if state.step and not self.train_step.updates:
            raise NonFiniteError(
                f"all {state.step} steps overflowed in {self.precision.name} and were skipped; use --precision fp32"
            )

    def save(self, state: TrainState) -> None:
        """Save a checkpoint: the evaluated parameters as the model, and beside them those that steps go on from."""
        with self._evaluated_parameters():
            self.checkpoints.save(state.step, {"identity": self.identity(), "progress": asdict(state)})
