"""Data sets from interactions in memory: matrices and tables with ids of any type.

Shape legend: U users, I items, E interactions, R rows of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import scipy.sparse as sp

from data_prep.encode import settle
from data_prep.encode.events import ITEM, TIME, Block, EventsInMemory, Facts
from data_prep.read import times as reading_times
from data_prep.read.schema import Schema
from data_prep.split.matrix import sort_rows
from recsys_core.errors import UserError
from recsys_core.matrices import Csr, Parts, csr_from_scipy, item_table, user_table


def from_csr(matrix: Any, user_ids: Sequence[Any] | None, item_ids: Sequence[Any] | None) -> Parts:
    """See `Dataset.from_csr`."""
    if isinstance(matrix, np.ndarray) and matrix.ndim == 2:
        matrix = sp.csr_matrix(matrix)
    if not isinstance(matrix, Csr) and not sp.issparse(matrix):
        raise UserError(
            f"the matrix is a {type(matrix).__name__}, expected a scipy sparse matrix or a NumPy array [U, I]"
        )
    train = matrix if isinstance(matrix, Csr) else csr_from_scipy(matrix)
    for name, ids, wanted in (("user_ids", user_ids, train.n_users), ("item_ids", item_ids, train.n_items)):
        if ids is not None and len(ids) != wanted:
            raise UserError(f"{name} holds {len(ids):,} ids, expected {wanted:,} as in the matrix")
        if ids is not None and (pd.isna(pd.Series(list(ids))).any() or not pd.Index(list(ids)).is_unique):
            raise UserError(f"{name} holds an id twice, or none for a row or column")
    users = pd.Index(user_ids if user_ids is not None else np.arange(train.n_users))
    items = pd.Index(item_ids if item_ids is not None else np.arange(train.n_items))
    return Parts(train=train, item_frame=item_table(items, None, train), user_frame=user_table({"train": users}))


def _pandas(frame: Any, columns: dict[str, str | None]) -> pd.DataFrame:
    """The wanted columns of a pandas, pyarrow or polars table, named by their purpose."""
    wanted = {purpose: column for purpose, column in columns.items() if column is not None}
    if not isinstance(frame, pd.DataFrame):
        if hasattr(frame, "collect"):
            raise UserError(f"the table is a {type(frame).__name__}; call .collect() on it first")
        try:
            frame = pyarrow.table(frame)
        except (TypeError, ValueError):
            raise UserError(
                f"the table is a {type(frame).__name__}, expected a pandas, pyarrow or polars one"
            ) from None
    names = list(frame.columns) if isinstance(frame, pd.DataFrame) else frame.column_names
    for purpose, column in wanted.items():
        if column not in names:
            known = ", ".join(map(str, names))
            raise UserError(f"the table has no column {column!r} for {purpose}; its columns are: {known}")
        if names.count(column) > 1:
            raise UserError(f"the table has {names.count(column)} columns {column!r}; rename one of them")
    if isinstance(frame, pd.DataFrame):
        return frame[list(wanted.values())].set_axis(list(wanted), axis=1)
    try:
        return frame.select(list(wanted.values())).to_pandas().set_axis(list(wanted), axis=1)
    except pyarrow.ArrowException as error:
        raise UserError(f"the table cannot be read: {error}; cast its columns to text or numbers first") from None


def _codes(ids: pd.Series, purpose: str) -> tuple[npt.NDArray[np.int32], pd.Index]:
    """[R] the place of each id among the distinct ids, which ascend; and these."""
    if missing := int(ids.isna().sum()):
        raise UserError(f"{missing:,} of {len(ids):,} rows have no {purpose}; remove these rows first")
    try:
        codes, distinct = pd.factorize(ids, sort=True)
    except TypeError:
        raise UserError(f"the ids of {purpose} cannot be told apart ({type(ids.iloc[0]).__name__}); use text") from None
    return codes.astype(np.int32), pd.Index(distinct)


def from_frame(
    frame: Any,
    *,
    user: str,
    item: str,
    time: str | None,
    title: str | None,
    rating: str | None,
    threshold: float,
) -> Parts:
    """See `Dataset.from_frame`."""
    table = _pandas(frame, {"user": user, "item": item, "time": time, "rating": rating, "title": title})
    if table.empty:
        raise UserError("the table has no rows")
    users, user_ids = _codes(table["user"], "user")
    items, item_ids = _codes(table["item"], "item")
    when, unit = _times(table, time)
    columns = settle.Columns(users=users, items=items, values=_ratings(table, rating), times=when)
    rule = settle.LATEST if rating is not None else settle.ANY
    order = ITEM if time is None else TIME
    found = settle.settle(columns, len(user_ids), len(item_ids), threshold=threshold, rule=rule, order=order)
    train = Csr(
        indptr=found.block.indptr,
        indices=sort_rows(found.block.indptr, found.block.items, len(item_ids)),
        n_items=len(item_ids),
    )
    if not len(train.indices):
        raise UserError(f"no row has a rating above {threshold:g}; lower threshold")
    titles = None
    if title is not None:
        titles = table.drop_duplicates("item", keep="last").set_index("item")["title"].reindex(item_ids).to_numpy()
    facts = Facts(rows_read=len(table), rows_overridden=found.overridden, rated_down=found.rated_down)
    return Parts(
        train=train,
        item_frame=item_table(item_ids, titles, train),
        user_frame=user_table({"train": user_ids}),
        events=events_of(found.block, len(item_ids), facts),
        time_unit=unit,
    )


def events_of(block: Block, n_items: int, facts: Facts) -> EventsInMemory:
    """Interactions whose ids are their indices; a data set knows the ids behind these."""
    users = pyarrow.array(np.arange(len(block.lengths)))
    return EventsInMemory(block=block, user_ids=users, item_ids=pyarrow.array(np.arange(n_items)), facts=facts)


def _ratings(table: pd.DataFrame, rating: str | None) -> npt.NDArray[np.float32] | None:
    """[R] the ratings; labels count as 0 and 1."""
    if rating is None:
        return None
    values = pd.to_numeric(table["rating"], errors="coerce").to_numpy(np.float32, na_value=np.nan)
    if missing := int(np.isnan(values).sum()):
        raise UserError(f"{missing:,} of {len(table):,} rows have no number as rating; remove these rows first")
    return values


def _times(table: pd.DataFrame, time: str | None) -> tuple[npt.NDArray | None, str]:
    """[R] the time of each row, and their unit (`Schema.time_unit`)."""
    if time is None:
        return None, ""
    if missing := int(table["time"].isna().sum()):
        raise UserError(f"{missing:,} of {len(table):,} rows have no time; remove these rows first")
    try:
        column = pyarrow.chunked_array([pyarrow.array(table["time"])])
        form = reading_times.form(column, time)
        schema = Schema(
            names=(time,), user="", item="", time=time, types={time: form.type}, time_unit=form.unit, notes=form.notes
        )
        return reading_times.convert(column, schema, lambda row: f"row {row}"), form.unit
    except (ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"the times cannot be read ({error}); give numbers, dates, or ISO 8601 texts") from None
