"""The users of a store of histories: all of them as they were when the batch began, or those of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from recsys_core.files import publish
from serving.batch.users import NO_ROW, UserBlock
from serving.export_folder import ExportFolder, Rows
from serving.ids import Id, IdType

if TYPE_CHECKING:
    from serving.histories.store import HistoryStore

READ_AT_ONCE = 4096
"""Users whose histories are asked for in one query."""
ModelRows = Callable[[Sequence[Id]], Sequence[int | None]]


class StoreUsers:
    """Users by id, with the histories that the store has when a block is computed."""

    def __init__(
        self,
        store: HistoryStore,
        ids: npt.NDArray,
        export: ExportFolder,
        fingerprint: str,
        model_rows: ModelRows | None,
    ) -> None:
        """
        Args:
            ids: [U] original ids, each once.
            model_rows: rows of users in a model that takes users (NCF); None for others.
        """
        self._store, self._ids, self._model_rows = store, ids, model_rows
        self._index: dict[Id, int] = {original: k for k, original in enumerate(export.item_ids.tolist())}
        self.fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self._ids)

    def block(self, start: int, stop: int) -> UserBlock:
        ids = self._ids[start:stop]
        histories = [
            history
            for first in range(0, len(ids), READ_AT_ONCE)
            for history in self._store.histories(ids[first : first + READ_AT_ONCE].tolist())
        ]
        index = self._index
        known = [[index[i] for i in history or () if i in index] for history in histories]
        indptr = np.concatenate([[0], np.cumsum([len(own) for own in known])]).astype(np.int64)
        items = np.fromiter((k for own in known for k in own), np.int32, int(indptr[-1]))
        rows = None
        if self._model_rows is not None:
            found = self._model_rows(ids.tolist())
            rows = np.array([NO_ROW if row is None else row for row in found], np.int32)
        return UserBlock(ids=ids, histories=Rows(indptr=indptr, item_ids=items), rows=rows)


def users_of_store(store: HistoryStore, id_type: IdType, kept: Path) -> npt.NDArray:
    """All users of a store, as a file keeps them: users that come later are not in a batch that is gone on with.

    Args:
        kept: Parquet file; written if it is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not kept.exists():
        kind = pa.int64() if id_type is int else pa.string()
        chunks = [pa.array(block, kind) for block in store.users()]
        table = pa.table({"user": pa.chunked_array(chunks, kind)})
        publish(kept, lambda working: pq.write_table(table, working))
    column = pq.read_table(kept)["user"]
    return column.to_numpy() if id_type is int else np.array(column.to_pylist(), object)
