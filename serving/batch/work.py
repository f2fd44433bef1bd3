"""Writes the parts of a batch, in this process or in several; computing and writing overlap."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_core.errors import UserError
from serving.batch.models import ModelChoice, open_scoring_engine
from serving.batch.parts import Plan, write_part
from serving.batch.scoring import Answers, Scorer
from serving.batch.sources import SourceChoice, open_source
from serving.batch.tables import Catalogue, answers_table
from serving.batch.users import UserBlock, UserSource
from serving.export_folder import ExportFolder, open_export

NO_HISTORY, NO_ROW = "no known item", "not a user that the model was trained on"
PART_ROWS = 1 << 20
"""Rows of a part, about."""
MOST_USERS = 1 << 16
"""Users of a part, at most."""
Report = Callable[[int], None]
"""Told numbers of users that were answered."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A batch, as processes are told of it."""

    export: Path
    source: SourceChoice
    model: ModelChoice
    plan: Plan
    k: int
    popular: bool
    allowed: npt.NDArray[np.bool_] | None
    """[I] the items that may be recommended; None for all."""

    def writer(self, export: ExportFolder, source: UserSource, threads: int) -> PartWriter:
        """Load the model."""
        engine = open_scoring_engine(export, self.model, threads)
        scorer = Scorer(
            export,
            engine.run,
            self.k,
            history_limit=engine.history_limit,
            batch_limit=engine.batch_limit,
            allowed=self.allowed,
            popular=self.popular,
            compiled=self.model.provider == "xla",
        )
        return PartWriter(self, export, source, scorer)


class PartWriter:
    """Computes and writes parts."""

    def __init__(self, job: Job, export: ExportFolder, source: UserSource, scorer: Scorer) -> None:
        self._job, self._source, self._scorer = job, source, scorer
        self.engine = scorer.engine
        titles = export.titles
        self._catalogue = Catalogue(item_ids=export.item_ids, titles=titles if any(titles) else None)

    def write(self, parts: Sequence[int], report: Report) -> None:
        """Write parts; one is written while the next is computed.

        Raises:
            UserError: the disk is full, or cannot be written.
        """
        with ThreadPoolExecutor(1) as pool:
            writing: Future[None] | None = None
            for part in parts:
                users = self._source.block(*self._job.plan.bounds(part))
                answers = self._scorer.answers(users, report)
                if writing is not None:
                    writing.result()
                writing = pool.submit(self._write_part, part, users, answers)
            if writing is not None:
                writing.result()

    def _write_part(self, part: int, users: UserBlock, answers: Answers) -> None:
        table = answers_table(users.ids, answers, self._catalogue, with_source=self._job.popular)
        able = users.answerable()
        found = (answers.items >= 0).sum(axis=1)
        reason = NO_ROW if users.rows is not None else NO_HISTORY
        about = {
            "users": len(users.ids),
            "rows": table.num_rows,
            "short": int((able & (found < self._job.k)).sum()),
            "unknown": [(user, reason) for user in users.ids[~able].tolist()],
        }
        write_part(self._job.plan, part, table, about)


def _child(job: Job, parts: Sequence[int], threads: int, channel: Connection) -> None:
    """Write parts in a process of its own; sends numbers of users, then None, or the line of an error."""
    try:
        export = open_export(job.export)
        job.writer(export, open_source(job.source, export, job.plan.output.kept_users), threads).write(
            parts, channel.send
        )
        channel.send(None)
    except (ValueError, OSError) as error:
        channel.send(str(error))
    except KeyboardInterrupt:
        pass


def write_in_processes(job: Job, parts: Sequence[int], processes: int, threads: int, report: Report) -> None:
    """Divide parts among several processes.

    Raises:
        UserError: a process failed; its line, or that it ended.
    """
    context = multiprocessing.get_context("spawn")  # neither TensorFlow nor ONNX Runtime may be forked
    children: dict[Connection, Any] = {}
    try:
        for number in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(target=_child, args=(job, parts[number::processes], threads, theirs), daemon=True)
            child.start()
            theirs.close()
            children[ours] = child
        while children:
            for channel in wait(list(children)):
                assert isinstance(channel, Connection)
                _hear(channel, children, report)
    finally:
        for child in children.values():
            child.terminate()
            child.join()


def _hear(channel: Connection, children: dict[Connection, Any], report: Report) -> None:
    """Take one message of a child."""
    try:
        message = channel.recv()
    except EOFError:
        child = children[channel]
        child.join()
        raise UserError(
            f"a process of the batch ended with status {child.exitcode}; the same command goes on"
        ) from None
    if isinstance(message, str):
        raise UserError(message)
    if message is None:
        children.pop(channel).join()
    else:
        report(message)


def threads_of(processes: int) -> int:
    """Threads for each of several processes on the cores of this one."""
    return max(1, len(os.sched_getaffinity(0)) // processes)


def part_users(rows: int, k: int) -> int:
    """Users of a part with about this many rows."""
    return int(np.clip(rows // k, 1, MOST_USERS))
