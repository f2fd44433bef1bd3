"""`RunFolder`: the folder of a run while this job holds its lock, and the state of the run in it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recsys_core import export, run_lock, run_state, runs
from recsys_core.errors import UserError
from recsys_core.files import write_json
from recsys_core.model import Recommender
from recsys_core.run_lock import RunLock
from recsys_core.run_manifest import RunManifest
from recsys_core.run_state import RunState
from recsys_core.runs import Begun
from recsys_core.training.task import TrainTask
from recsys_core.world import World


class RunFolder:
    """Writes the state of a run, its result and its export. Every method is called by all ranks; rank 0 writes."""

    def __init__(self, folder: Path, world: World, lock: RunLock) -> None:
        self.folder, self._world, self._lock = folder, world, lock
        self._is_running = False
        self._config: Mapping[str, Any] = {}

    def begin(self, manifest: RunManifest, *, resume: bool, renamed: Mapping[str, str]) -> Begun:
        """See `runs.create`; an error is raised by all ranks."""
        self._config = manifest.config
        begun = self._world.run_on_rank0(lambda: runs.create(self.folder, manifest, resume=resume, renamed=renamed))
        self._is_running = begun.to_do == run_state.TRAIN
        return begun

    def check(self) -> None:
        """Refuse to go on where another job has taken the folder over.

        Raises:
            SharedError: names that job.
        """
        self._world.run_on_rank0(self._lock.check)

    def state(self) -> RunState:
        return self._world.run_on_rank0(lambda: run_state.read(self.folder))

    def result(self) -> dict[str, Any]:
        """The content of `result.json`."""
        return self._world.run_on_rank0(lambda: json.loads((self.folder / "result.json").read_text()))

    def interrupted(self, step: int, epoch: float) -> None:
        """Note that a signal ended the run; one that had been finished before stays finished."""
        if self._is_running:
            self._world.run_on_rank0(lambda: self._change(run_state.INTERRUPTED, step=step, epoch=epoch))
            self._is_running = False

    def failed(self, error: BaseException) -> None:
        """Note that an error ended the run, on rank 0 only and where the disk allows it and the lock is still held."""
        if self._is_running and self._world.is_rank0 and not self._lock.is_lost:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            with contextlib.suppress(UserError, OSError):
                self._change(run_state.INTERRUPTED, reason=reason)

    def write_result(self, task: TrainTask, content: dict[str, Any], times: Callable[[], Mapping[str, float]]) -> None:
        """Write `result.json`: from now on the run is finished, and its verdict known.

        Args:
            times: part of the run -> seconds so far.
        """
        passed, conditions = content["gate"]["passed"], content["gate"]["conditions"]

        def write() -> None:
            content["durations"] = dict(times())
            write_json(self.folder / "result.json", content)
            self._change(
                run_state.FINISHED,
                step=content["steps"],
                epoch=content["steps"] / max(task.plan.steps_per_epoch, 1),
                verdict="passed" if passed else "missed",
                conditions=tuple(_reached(c) for c in conditions),
                judged_with=run_state.judged_settings(self._config),
            )

        self._world.run_on_rank0(write)
        self._is_running = False

    def write_export(
        self,
        task: TrainTask,
        content: dict[str, Any],
        options: Mapping[str, Any],
        times: Callable[[], Mapping[str, float]],
    ) -> None:
        """Export the model, in place of an earlier export, and add the time of that to `result.json`.

        Args:
            options: `top_k` and `export_users` of `export.write_export`.
        """

        def write() -> None:
            export.write_export(self.folder / "export", task.model, task.data, result=content, **options)
            content["durations"] = dict(times())
            write_json(self.folder / "result.json", content)
            made = {"step": content["best_step"], "unix_s": round(time.time(), 3)}
            self._change(run_state.EXPORTED, export=made, converted=())

        self._world.run_on_rank0(write)

    def converted(self, formats: str) -> None:
        """Note that the export was converted.

        Args:
            formats: separated by commas.
        """

        def write() -> None:
            known = run_state.read(self.folder).converted
            self._change(run_state.EXPORTED, converted=tuple(dict.fromkeys((*known, *run_state.formats_of(formats)))))

        if formats:
            self._world.run_on_rank0(write)

    def has_export(self) -> bool:
        """Whether there is an export, of this or of an earlier verdict."""
        return self._world.run_on_rank0(lambda: (self.folder / "export" / "export.json").is_file())

    def _change(self, state: str, **facts: Any) -> None:
        run_state.change(self.folder, state, **facts)


def _reached(condition: Mapping[str, Any]) -> str:
    return f"{condition['condition']}: {condition['reached']:.4f} reached"


@contextmanager
def opened(
    folder: Path, model: Recommender, *, resume: bool, world: World, say: Callable[[str], None]
) -> Iterator[RunFolder]:
    """The folder of a run, locked while the block runs, without what killed writers left there.

    Args:
        say: prints a line on rank 0.

    Raises:
        SharedError: the folder cannot be used (`runs.check_place`), or another job holds it.
    """
    world.run_on_rank0(lambda: runs.check_place(folder, model.family, resume=resume, renamed=model.renamed))
    with run_lock.held(folder, world, say) as lock:
        world.run_on_rank0(lambda: runs.remove_litter(folder))
        run = RunFolder(folder, world, lock)
        try:
            yield run
        except BaseException as error:
            run.failed(error)
            raise
