"""The study of a search: an Optuna study in `study.db` (SQLite). One process, the one of the command, opens it.

Every number of a trial comes from the seed and the trials that finished before it: a search with one worker makes the
same trials again, and a search that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_core.errors import UserError
from recsys_core.search_space import Choice, Parameter, Real
from recsys_core.tuning.spaces import base_values

if TYPE_CHECKING:
    import optuna

    from recsys_core.tuning.request import SearchRequest

NAME, FILE = "search", "study.db"
STARTUP = 10
"""Trials before the sampler learns from those that finished; they are drawn at random."""
PRUNE_AFTER, PRUNE_FROM = 5, 0.2
"""Finished trials before any is pruned, and the share of the epochs before which none is."""
INSTALL = "the search needs Optuna, which is not installed: pip install optuna==5.0.0"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A trial that finished."""

    number: int
    settings: Mapping[str, Any]
    state: str
    """"complete", "pruned" or "failed"."""
    value: float | None
    """The metric on validation users at the best evaluation; None for a trial that has none."""
    error: float | None = None
    """Its standard error."""
    epoch: float | None = None
    seconds: float = 0.0
    reason: str = ""
    """Why it failed."""


def distributions(space: Mapping[str, Parameter]) -> dict[str, Any]:
    """Optuna's distributions of the parameters that have more than one value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, parameter in space.items():
        if isinstance(parameter, Choice):
            if len(parameter.values) > 1:
                found[name] = CategoricalDistribution(parameter.labels)
        elif isinstance(parameter, Real):
            found[name] = FloatDistribution(float(parameter.low), float(parameter.high), log=parameter.log)
        else:
            found[name] = IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return found


def settings_of(space: Mapping[str, Parameter], sampled: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> value of a trial; real numbers have four digits, as in the preset file."""
    found: dict[str, Any] = {}
    for name, parameter in space.items():
        if isinstance(parameter, Choice):
            found[name] = parameter.of_label(sampled[name]) if name in sampled else parameter.values[0]
        elif isinstance(parameter, Real):
            found[name] = parameter.nearest(float(f"{sampled[name]:.4g}"))
        else:
            found[name] = int(sampled[name])
    return found


def first_trial(space: Mapping[str, Parameter], config: Any) -> dict[str, Any]:
    """The preset's own values, moved into the space, as Optuna's parameters."""
    from recsys_core.search_space import label

    base = base_values(config)
    values = {name: space[name].nearest(base[name]) for name in distributions(space)}
    return {n: label(v) if isinstance(space[n], Choice) else v for n, v in values.items()}


class Study:
    """Trials of one search: asked, reported, finished. Its methods may be called by several threads."""

    def __init__(self, request: SearchRequest, fingerprint: str) -> None:
        """Open the study in the folder of a search, or begin one.

        Args:
            fingerprint: of the data set.

        Raises:
            UserError: Optuna is not installed; the file is no study, or one of another search.
        """
        try:
            import optuna
        except ImportError:
            raise UserError(INSTALL) from None
        self._optuna, self._request, self._lock = optuna, request, threading.RLock()
        self._distributions = distributions(request.space)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = request.out / FILE
        try:
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"creator": lambda: _connected(path)}
            )
            self._study = optuna.create_study(
                storage=storage, study_name=NAME, direction="maximize", pruner=self._pruner(), load_if_exists=True
            )
            self._require_same(identity(request, fingerprint))
            self.recover()
        except UserError:
            raise
        except Exception as error:  # of Optuna, Alembic, SQLAlchemy or SQLite, each with classes of its own
            raise UserError(f"{path} cannot be used as a study: {_first_line(error)}; choose another --out") from None

    def _pruner(self) -> optuna.pruners.BasePruner:
        pruners, epochs = self._optuna.pruners, self._request.epochs
        if self._request.pruner == "none":
            return pruners.NopPruner()
        return pruners.MedianPruner(PRUNE_AFTER, n_warmup_steps=math.floor(PRUNE_FROM * epochs), n_min_trials=3)

    def _require_same(self, wanted: Mapping[str, Any]) -> None:
        """Refuse a study of another search; a new one takes the identity and the preset's own values to begin with."""
        found = self._study.user_attrs.get("identity")
        if found is None:
            first = first_trial(self._request.space, self._request.preset.config)
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial(first)
            self._study.set_user_attr("identity", wanted)
            return
        for name, new in wanted.items():
            if found.get(name) != new:
                raise UserError(
                    f"{self._request.out} holds a search {_difference(name, found.get(name), new)}; choose another "
                    "--out, or give what it was started with"
                )

    def recover(self) -> None:
        """Mark the trials that a stopped search left running as failed; they are made again when it goes on."""
        for trial in self._study.get_trials(deepcopy=False, states=[self._optuna.trial.TrialState.RUNNING]):
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            if trial.params:
                self._study.enqueue_trial(dict(trial.params), user_attrs={"again": trial.number})

    @property
    def seconds(self) -> float:
        """Time that all commands on this study took so far."""
        return float(self._study.user_attrs.get("seconds", 0.0))

    def set_seconds(self, seconds: float) -> None:
        """Note that time, so that a search that is stopped goes on with the rest of its budget."""
        with self._lock:
            self._study.set_user_attr("seconds", seconds)

    def ask(self) -> optuna.trial.Trial:
        """The next trial, running from now on."""
        states = self._optuna.trial.TrialState
        with self._lock:
            known = self._study.get_trials(deepcopy=False, states=[states.COMPLETE, states.PRUNED, states.RUNNING])
            seed = (self._request.seed * 1_000_003 + len(known)) % 2**32
            self._study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)
            return self._study.ask(self._distributions)

    def settings(self, trial: optuna.trial.Trial) -> dict[str, Any]:
        """The settings that a trial tries."""
        return settings_of(self._request.space, trial.params)

    def report(self, trial: optuna.trial.Trial, epoch: float, value: float) -> bool:
        """Note an evaluation of a running trial.

        Returns:
            Whether the trial is to end here.
        """
        with self._lock:
            trial.report(value, round(epoch))
            return bool(trial.should_prune())

    def finish(self, trial: optuna.trial.Trial, outcome: Outcome) -> None:
        """Note how a trial ended. A failed one counts as the worst of all, so that its like is not tried again."""
        states = self._optuna.trial.TrialState
        with self._lock:
            names = ("value", "error", "epoch", "seconds", "reason")
            trial.set_user_attr("outcome", {name: getattr(outcome, name) for name in names})
            if outcome.state == "complete":
                self._study.tell(trial, outcome.value)
            else:
                self._study.tell(trial, state=states.PRUNED)

    @property
    def finished(self) -> list[Outcome]:
        """Every trial that finished, in the order of their numbers."""
        states = self._optuna.trial.TrialState
        with self._lock:
            trials = self._study.get_trials(deepcopy=False, states=[states.COMPLETE, states.PRUNED])
        return [self._outcome(trial) for trial in trials]

    def _outcome(self, trial: optuna.trial.FrozenTrial) -> Outcome:
        noted = trial.user_attrs["outcome"]
        is_complete = trial.state == self._optuna.trial.TrialState.COMPLETE
        state = "complete" if is_complete else "failed" if noted["reason"] else "pruned"
        return Outcome(
            number=trial.number, settings=settings_of(self._request.space, trial.params), state=state, **noted
        )

    @property
    def importances(self) -> dict[str, float]:
        """Parameter -> its share of the differences between trials (PED-ANOVA), largest first; {} where unknown."""
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        try:
            with self._lock:
                return dict(self._optuna.importance.get_param_importances(self._study, evaluator=evaluator))
        except (ValueError, RuntimeError):  # too few trials, or all alike
            return {}


def _connected(path: Path) -> sqlite3.Connection:
    """A connection that does not wait for the disk at every commit; a killed process loses nothing."""
    connection = sqlite3.connect(path, timeout=60.0, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def identity(request: SearchRequest, fingerprint: str) -> dict[str, Any]:
    """What makes a study another one."""
    return {
        "family": request.spec.family,
        "preset": request.preset_name,
        "data": fingerprint,
        "metric": request.metric,
        "seed": request.seed,
        "space": {name: str(parameter) for name, parameter in request.space.items()},
        "base": {n: list(v) if isinstance(v, tuple) else v for n, v in base_values(request.preset.config).items()},
    }


def _difference(name: str, old: Any, new: Any) -> str:
    """The words for what differs between two searches."""
    if isinstance(new, Mapping):
        old = old or {}
        inner = next(n for n in {**old, **new} if old.get(n) != new.get(n))
        what = "over" if name == "space" else "of a preset with"
        return f"{what} {inner} {_shown(old.get(inner))}, this one has {inner} {_shown(new.get(inner))}"
    if name == "data":
        return f"on another data set ({str(old)[:8]}, this one is {str(new)[:8]})"
    return f"of {name} {old}, this one is of {name} {new}"


def _shown(value: Any) -> str:
    return "left as it is" if value is None else str(value)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
