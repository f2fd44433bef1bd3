"""Values of a metric, user by user, of a model that answers through the code that serves: `Recommender` and engine.

Shape legend: S test users, K recommended items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from recsys_core.evaluation.metric_names import Metric
from serving import targets
from serving.engines.blocks import BLOCK, EngineInBlocks
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.export_folder import ExportFolder, open_export
from serving.histories.store import HistoryStore
from serving.ids import Id, IdType
from serving.recommend.known_users import find_store
from serving.recommend.recommender import Recommender
from serving.recommend.requests import Request
from serving.release import ranking_metrics
from serving.release.evaluation_users import EvaluationUsers, id_text
from serving.targets import Artifact

BATCH = 256
"""Requests of one call of the recommender."""
JUDGED_RUN = "judged_run"
"""Entry of the export of a final fit: the run that was measured in its place."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that is compared: its export, and how its engine is opened."""

    export: ExportFolder
    open_engine: Callable[[], Engine]
    history_limit: int | None
    block: int = BLOCK
    """Largest number of requests that the engine takes at once."""
    note: str = ""
    """What stands in for the model, if it cannot be measured itself."""

    @cached_property
    def recommender(self) -> Recommender:
        export = self.export
        engine = EngineInBlocks(self.open_engine(), export.n_items, self.block)
        return Recommender(export, engine, self.history_limit, cast(HistoryStore, _store(export)))


def of_artifact(export: ExportFolder, artifact: Artifact, note: str = "") -> Contender:
    """A converted model and its export."""
    return Contender(
        export=export,
        open_engine=lambda: open_engine(artifact),
        history_limit=artifact.history_limit(export.history_limit(artifact.target.signature)),
        block=artifact.largest_batch(BLOCK),
        note=note,
    )


def candidate_of(export: ExportFolder, artifact: Artifact) -> Contender:
    """The candidate, or the run that its settings were judged by.

    A final fit was trained on all users and has no test users. Its judged run stands in for it: its conversion to the
    same target if that is verified, else its exported model.

    Raises:
        ValueError: the judged run has no export any more.
    """
    if JUDGED_RUN not in export.content:
        return of_artifact(export, artifact)
    folder = Path(export.content[JUDGED_RUN])
    note = f"{export.folder} was trained on all users; {folder}, whose settings it has, is compared in its place"
    try:
        judged = replace(open_export(folder), data=export.data)
    except ValueError as error:
        raise ValueError(f"{export.folder} was trained on all users, and {error}; --force publishes it") from None
    converted = targets.artifact(targets.default_folder(judged.folder), artifact.target.name)
    if converted.unusable_reason(judged.identity) is None:
        return of_artifact(judged, converted, note)
    signature = artifact.target.signature
    return Contender(
        export=judged,
        open_engine=lambda: reference_engine(judged, signature),
        history_limit=judged.history_limit(signature),
        note=note,
    )


class EvaluationStore:
    """Knows the rows of a model's training users, and no history: a request holds what its user has before the test."""

    def __init__(self, rows: HistoryStore | None) -> None:
        """
        Args:
            rows: the users of the model; None for a model that takes no users.
        """
        self._rows = rows

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        return [()] * len(users)

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        assert self._rows is not None, "only a model that takes users asks for rows"
        return self._rows.rows(users, training_users)


def _store(export: ExportFolder) -> EvaluationStore:
    """
    Raises:
        ValueError: the model ranks for its training users, and which these are is not known here.
    """
    if not export.knows_users:
        return EvaluationStore(None)
    if (rows := find_store(export, None)) is None:
        raise ValueError(
            f"{export.folder} ranks for its training users, and its data set is not at hand: name it with --data "
            "(the served version's with --served-data), or publish without a comparison: --force"
        )
    return EvaluationStore(rows)


def _to_id(text: str, id_type: IdType) -> Id | None:
    """An id of a model, from an id of the data set; None if the model cannot have it."""
    if id_type is str:
        return text
    try:
        number = int(text)
    except ValueError:
        return None
    return number if str(number) == text else None


def _request(export: ExportFolder, user: str, history: Sequence[str], k: int) -> Request:
    """The request of a test user. A user is named only to a model that needs it."""
    types = export.id_types
    items = (_to_id(item, types.item) for item in history)
    return Request(
        user_id=_to_id(user, types.user) if export.knows_users else None,
        item_ids=tuple(item for item in items if item is not None),
        k=k,
    )


def user_values(
    contender: Contender, users: EvaluationUsers, metric: Metric, progress: Callable[[int], object] | None = None
) -> npt.NDArray[np.float64]:
    """[S] the metric of each user; NaN for a user with nothing to be found.

    An item that the model does not know cannot be recommended by it and counts as missed.

    Args:
        progress: called with the number of users that were just answered.

    Raises:
        ValueError: the model's answers are shorter than the metric's K.
    """
    export = contender.export
    if metric.k > export.top_k:
        raise ValueError(f"--metric {metric}: {export.folder} answers with up to {export.top_k} items")
    relevant = np.array([len(found) for found in users.relevant], np.int64)
    hits = np.zeros((len(users), metric.k), bool)
    for start in range(0, len(users), BATCH):
        places = range(start, min(start + BATCH, len(users)))
        requests = [_request(export, users.user_ids[k], users.histories[k], metric.k) for k in places]
        for k, answer in zip(places, contender.recommender.recommend(requests), strict=True):
            found = [id_text(i) in users.relevant[k] for i in answer.item_ids.tolist()]
            hits[k, : len(found)] = found
        if progress is not None:
            progress(len(requests))
    return ranking_metrics.values(metric, hits, relevant)


def unknown_items(contender: Contender, users: EvaluationUsers) -> int:
    """Number of items to be found, over all users, that a model does not know."""
    known = {id_text(i) for i in contender.export.item_ids.tolist()}
    return sum(len(found - known) for found in users.relevant)


def both_values(
    contenders: Mapping[str, Contender], users: EvaluationUsers, metric: Metric
) -> dict[str, npt.NDArray[np.float64]]:
    """`user_values` of several models, with a progress bar where it takes long."""
    import sys

    from tqdm import tqdm

    total = len(users) * len(contenders)
    with tqdm(total=total, unit=" users", delay=2, leave=False, file=sys.stderr, disable=None) as bar:
        return {name: user_values(each, users, metric, bar.update) for name, each in contenders.items()}
