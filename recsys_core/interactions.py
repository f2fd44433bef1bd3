"""Data sets from interactions in memory: matrices and tables with ids of any type.

Shape legend: U users, I items, E interactions, R rows of a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import scipy.sparse as sp

from recsys_core.errors import UserError
from recsys_core.matrices import Csr, Parts, csr_from_scipy, item_table, user_table


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """Interactions that are not split yet."""

    train: Csr
    items: pd.DataFrame
    users: pd.DataFrame
    order: npt.NDArray[np.int64] | None
    """[E] the place in time of each interaction; None where times are not known."""


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


def _codes(ids: pd.Series, purpose: str) -> tuple[npt.NDArray[np.int64], pd.Index]:
    """[R] the place of each id among the distinct ids, which ascend; and these."""
    if missing := int(ids.isna().sum()):
        raise UserError(f"{missing:,} of {len(ids):,} rows have no {purpose}; remove these rows first")
    try:
        codes, distinct = pd.factorize(ids, sort=True)
    except TypeError:
        raise UserError(f"the ids of {purpose} cannot be told apart ({type(ids.iloc[0]).__name__}); use text") from None
    return codes.astype(np.int64), pd.Index(distinct)


def from_frame(frame: Any, *, user: str, item: str, time: str | None, title: str | None) -> Parts:
    """See `Dataset.from_frame`."""
    table = _pandas(frame, {"user": user, "item": item, "time": time, "title": title})
    if table.empty:
        raise UserError("the table has no rows")
    users, user_ids = _codes(table["user"], "user")
    items, item_ids = _codes(table["item"], "item")
    place = _places_in_time(table, time)
    pairs = users * len(item_ids) + items
    by_pair = np.lexsort((place, pairs))
    first = by_pair[np.diff(pairs[by_pair], prepend=-1) != 0]  # of repeated pairs the earliest stays
    indptr = np.zeros(len(user_ids) + 1, np.int64)
    np.cumsum(np.bincount(users[first], minlength=len(user_ids)), out=indptr[1:])
    train = Csr(indptr=indptr, indices=items[first].astype(np.int32), n_items=len(item_ids))
    titles = None
    if title is not None:
        titles = table.drop_duplicates("item", keep="last").set_index("item")["title"].reindex(item_ids).to_numpy()
    return Parts(
        train=train,
        item_frame=item_table(item_ids, titles, train),
        user_frame=user_table({"train": user_ids}),
        event_order=place[first] if time is not None else None,
    )


def _sortable_times(times: pd.Series) -> npt.NDArray:
    """[R] numbers that ascend with time, from numbers, dates, or texts of either."""
    if pd.api.types.is_numeric_dtype(times):
        return times.to_numpy()
    numbers = pd.to_numeric(times, errors="coerce") if times.dtype == object else None
    if numbers is not None and not numbers.isna().any():
        return numbers.to_numpy()
    try:
        return pd.to_datetime(times, utc=True, format=None if times.dtype != object else "ISO8601").to_numpy()
    except (TypeError, ValueError) as error:
        raise UserError(f"the times cannot be read ({error}); give numbers, dates, or ISO 8601 texts") from None


def _places_in_time(table: pd.DataFrame, time: str | None) -> npt.NDArray[np.int64]:
    """[R] the place of each row in the order of times, equal times in the order of the table."""
    if time is None:
        return np.arange(len(table))
    if missing := int(table["time"].isna().sum()):
        raise UserError(f"{missing:,} of {len(table):,} rows have no time; remove these rows first")
    order = np.argsort(_sortable_times(table["time"]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place
