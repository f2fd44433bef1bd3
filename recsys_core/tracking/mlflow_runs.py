"""A callback that writes a training run to MLflow: parameters, metrics, the result with its intervals, and files.

On request it uploads the export too, and makes it a version of a registered model.

Nothing that MLflow does ends a training: after the first error the run goes on untracked, and one line says so.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from recsys_core.files import write_json
from recsys_core.model_card import card
from recsys_core.model_card.facts import NORMAL_95, measured
from recsys_core.tracking.request import TrackRequest
from recsys_core.training.callbacks import Callback
from recsys_core.training.state import EvalEvent

FILE = "mlflow.json"
"""In the folder of the run: the run in MLflow, with which a resumed run goes on."""
EXPERIMENT = "recsys-scale"
LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Settings of MLflow's client where the user has set none: by default it tries for minutes to reach a server."""
REGISTRATION_S = 30
"""Longest wait for a version to be ready."""
UPLOADED = "export"
"""Folder of the uploaded export among the artefacts of a run."""
PARAMS_AT_ONCE = 100
LONGEST_PARAM = 500


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots, and values as text."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)[:LONGEST_PARAM]


def metric_name(name: str) -> str:
    """MLflow takes no @ in names, and its store of files no name below another: hr@10/sampled is hr_at_10_sampled."""
    return name.replace("@", "_at_").replace("/", "_")


class TrackMlflow(Callback):
    """Writes to MLflow on rank 0."""

    part: ClassVar[str] = "tracking"

    def __init__(self, request: TrackRequest, run_dir: Path, config: Mapping[str, Any], *, is_rank0: bool) -> None:
        """
        Args:
            config: of the run, as plain values.
        """
        self._request, self._run_dir, self._config = request, run_dir, config
        self._active = is_rank0
        self._client: Any = None
        self._run = ""
        self._tags: dict[str, str] = {}

    def on_evaluation(self, event: EvalEvent) -> None:
        values = {f"validation/{metric_name(n)}": e.mean for n, e in event.evaluation.metrics.items()}
        entry = event.state.history[-1]
        values |= {"loss": entry["loss"], "epoch": entry["epoch"]}
        self._do(lambda: self._log_metrics(values, event.state.step))

    def on_end(self) -> None:
        self._do(lambda: self._client.set_terminated(self._run, "KILLED"))  # `on_result` says that it finished

    def on_result(self, content: Mapping[str, Any]) -> None:
        self._do(lambda: self._log_result(content))

    def on_export(self, folder: Path) -> bool:
        self._do(lambda: self._log_export(folder))
        return True

    def _do(self, work: Callable[[], None]) -> None:
        """Do something in MLflow; the first error ends the tracking, never the training."""
        if not self._active:
            return
        try:
            if self._client is None:
                self._connect()
            work()
        except Exception as error:  # of MLflow, of its transport or of its server: many classes
            self._active = False
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            print(f"warning: MLflow: {reason[:200]}; the run goes on without tracking", file=sys.stderr, flush=True)

    def _connect(self) -> None:
        """Go on with the run in MLflow that the folder names, or begin one."""
        for name, value in LIMITS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(self._request.uri or None)
        known = self._run_dir / FILE
        if known.is_file():
            self._run = json.loads(known.read_text())["run"]
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        identity = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(identity, run_name=self._run_dir.name).info.run_id
        write_json(known, {"run": self._run})
        self._log_params()

    def _log_params(self) -> None:
        from mlflow.entities import Param

        params = [Param(name, value) for name, value in flat(self._config)]
        for start in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(self._run, params=params[start : start + PARAMS_AT_ONCE])

    def _log_metrics(self, values: Mapping[str, float | None], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        known = {name: value for name, value in values.items() if value is not None}
        self._client.log_batch(self._run, metrics=[Metric(n, float(v), now, step) for n, v in known.items()])

    def _log_result(self, content: Mapping[str, Any]) -> None:
        """The test metrics with the ends of their 95 % intervals, the files, and that the run is finished."""
        values: dict[str, float | None] = {}
        for name, metric in measured(content)["test"]["metrics"].items():
            mean, error = metric["mean"], metric["standard_error"]
            values[shown := f"test/{metric_name(name)}"] = mean
            if mean is not None and error is not None:
                values |= {f"{shown}_low": mean - NORMAL_95 * error, f"{shown}_high": mean + NORMAL_95 * error}
        self._log_metrics(values, int(content.get("best_step") or 0))
        self._client.log_dict(self._run, dict(content), "result.json")
        self._log_files(self._run_dir, ("config.yaml", "curves.png"))
        passed = "passed" if content["gate"]["passed"] else "missed"
        self._tags = {"gate": passed, "data_set": str(content.get("data_set", ""))}
        for name, value in self._tags.items():
            self._client.set_tag(self._run, name, value)
        self._client.set_terminated(self._run, "FINISHED")

    def _log_export(self, folder: Path) -> None:
        self._client.set_tag(self._run, "export", str(folder))
        self._log_files(folder, (card.MARKDOWN, card.HTML))
        if self._request.export or self._request.register:
            self._client.log_artifacts(self._run, str(folder), UPLOADED)
        if self._request.register:
            self._register(self._request.register)

    def _register(self, name: str) -> None:
        """Make the uploaded export the next version of a registered model, unless it is one already."""
        from mlflow.exceptions import MlflowException

        versions = self._client.search_model_versions(f"name='{name}'")
        known = next((version for version in versions if version.run_id == self._run), None)
        if known is None:
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            source = f"{self._client.get_run(self._run).info.artifact_uri}/{UPLOADED}"
            known = self._client.create_model_version(
                name, source, self._run, tags=self._tags, await_creation_for=REGISTRATION_S
            )
        print(f"MLflow: version {known.version} of the registered model {name}", flush=True)

    def _log_files(self, folder: Path, names: tuple[str, ...]) -> None:
        for name in names:
            if (folder / name).is_file():
                self._client.log_artifact(self._run, str(folder / name))
