"""Recommendations of a model in memory for users of its data set, in the original ids.

Shape legend: B users, I items, K items of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import tensorflow as tf

from recsys_core import numerics, user_histories
from recsys_core.errors import UserError
from recsys_core.input.batches import Histories

BLOCK_BYTES = 1 << 26
"""Bytes of the scores of users scored at once."""


def _comparable(ids: Sequence[Any], index: pd.Index) -> pd.Index:
    """Ids that are compared with those of an index. Whole numbers are not compared as floats, in which those beyond
    2**53 are alike."""
    given: pd.Index = pd.Index(list(ids), dtype=index.dtype if len(ids) == 0 else None)
    if pd.api.types.is_integer_dtype(index.dtype) and pd.api.types.is_float_dtype(given.dtype):
        given = pd.Index([int(i) if float(i).is_integer() else i for i in ids], dtype=object)
    return given


def _indices(ids: Sequence[Any], index: pd.Index, name: str) -> npt.NDArray[np.int64]:
    """Places of ids in an index."""
    places = index.get_indexer(_comparable(ids, index))
    if (unknown := np.flatnonzero(places < 0)).size:
        raise UserError(f"unknown {name} {list(ids)[unknown[0]]!r}: it is not in the data set")
    return places.astype(np.int64)


def _id_list(ids: Any, name: str) -> list[Any]:
    """Ids that were given as any list, array or column; None is no ids."""
    if ids is None:
        return []
    if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
        raise UserError(f"{name} is {ids!r}, expected a list of ids, as [{ids!r}]")
    return list(ids)


def _require_parameters(model: Any) -> None:
    if model.is_closed_form and not model.parameters:
        raise UserError(f"{type(model).__name__} has no parameters yet; fit it first: Trainer().fit(model, data)")


def _check_count(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise UserError(f"k is {k!r}, expected a whole number from 1")


def _allowed(items: pd.Index, allow: Sequence[Any] | None, deny: Sequence[Any]) -> npt.NDArray[np.bool_]:
    """[I] which items may be recommended; ids that the data set does not have are passed over."""
    allowed = np.ones(len(items), bool) if allow is None else np.asarray(items.isin(_comparable(allow, items)))
    return allowed & ~np.asarray(items.isin(_comparable(deny, items)))


def _known_histories(model: Any, users: Sequence[Any]) -> tuple[sp.csr_matrix, npt.NDArray[np.int64]]:
    """[B, I] everything that users have, and their rows [B] in the training matrix (-1 for others)."""
    data = model.data
    if "histories" not in model.cache:
        model.cache["users"] = pd.Index(user_histories.users(data)["user_id"])
        model.cache["histories"] = user_histories.histories(data)
    places = _indices(users, model.cache["users"], "user")
    rows = np.where(places < data.n_users, places, -1)  # training users come first
    return model.cache["histories"][places], rows


def _given_histories(
    histories: Mapping[Any, Sequence[Any]], items: pd.Index
) -> tuple[sp.csr_matrix, npt.NDArray[np.int64]]:
    parts = [np.unique(_indices(_id_list(ids, f"histories[{n!r}]"), items, "item")) for n, ids in histories.items()]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    indices = np.concatenate([*parts, np.empty(0, np.int64)]).astype(np.int32)
    matrix = sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), (len(parts), len(items)))
    return matrix, np.full(len(parts), -1, np.int64)


def recommend(
    model: Any,
    users: Sequence[Any],
    k: int,
    *,
    exclude_seen: bool,
    allow: Sequence[Any] | None,
    deny: Sequence[Any],
    histories: Mapping[Any, Sequence[Any]],
) -> pd.DataFrame:
    """See `Recommender.recommend`."""
    numerics.use_float32_products()
    _check_count(k)
    _require_parameters(model)
    users, deny = _id_list(users, "users"), _id_list(deny, "deny")
    allow = None if allow is None else _id_list(allow, "allow")
    if not isinstance(histories, Mapping):
        raise UserError(f"histories is a {type(histories).__name__}, expected names and lists of item ids")
    if model.needs_known_users and histories:
        raise UserError(f"{type(model).__name__} knows only users that it was trained on; it takes no histories")
    items = pd.Index(model.data.items["item_id"])
    allowed = _allowed(items, allow, deny)
    parts = []
    if len(users):
        parts.append((list(users), *_known_histories(model, users)))
    if histories:
        parts.append((list(histories), *_given_histories(histories, items)))
    block = max(1, BLOCK_BYTES // (4 * model.n_items))
    frames = [
        _recommend_block(model, names[start : start + block], known[start : start + block],
                         rows[start : start + block], k, exclude_seen, allowed, items)
        for names, known, rows in parts
        for start in range(0, len(names), block)
    ]  # fmt: skip
    columns = ["user", "rank", "item", "score"]
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({c: [] for c in columns})
    return _with_titles(found, "item", model)


def _with_titles(found: pd.DataFrame, column: str, model: Any) -> pd.DataFrame:
    """The table with a column `title` after the item, where the data set has titles."""
    table = model.data.items
    if "title" not in table or not table["title"].fillna("").astype(bool).any():
        return found
    titles = table.set_index("item_id")["title"].reindex(found[column]).to_numpy()
    found.insert(found.columns.tolist().index(column) + 1, "title", titles)
    return found


def _recommend_block(
    model: Any,
    names: list[Any],
    known: sp.csr_matrix,
    rows: npt.NDArray[np.int64],
    k: int,
    exclude_seen: bool,
    allowed: npt.NDArray[np.bool_],
    items: pd.Index,
) -> pd.DataFrame:
    """The answer for some users, whose items are the rows of `known` [B, I]."""
    if model.needs_known_users and (rows < 0).any():
        name = names[int(np.flatnonzero(rows < 0)[0])]
        raise UserError(f"{type(model).__name__} was not trained on user {name!r}")
    known.sort_indices()
    histories = Histories(
        tf.constant(known.indices.astype(np.int32)), tf.constant(known.indptr.astype(np.int64)), tf.constant(rows)
    )
    scores = np.array(model.scores(histories), np.float32)
    scores[:, ~allowed] = -np.inf
    if exclude_seen:
        scores[known.nonzero()] = -np.inf
    best = tf.math.top_k(scores, min(int(k), scores.shape[1]))
    values, columns = best.values.numpy(), best.indices.numpy()
    users, ranks = np.nonzero(values > -np.inf)
    return pd.DataFrame(
        {
            "user": pd.Index(names)[users],
            "rank": ranks + 1,
            "item": items[columns[users, ranks]],
            "score": values[users, ranks],
        }
    )


def similar_items(model: Any, item: Any, k: int) -> pd.DataFrame:
    """See `Recommender.similar_items`."""
    numerics.use_float32_products()
    _check_count(k)
    _require_parameters(model)
    if isinstance(item, list | dict | set | np.ndarray):
        raise UserError(f"item is {item!r}, expected one id")
    items = pd.Index(model.data.items["item_id"])
    place = int(_indices([item], items, "item")[0])
    scores = np.array(model.item_similarities(place), np.float32)
    scores[place] = -np.inf
    best = tf.math.top_k(scores, min(int(k), len(scores) - 1))
    found = best.indices.numpy()
    ranks, similar = np.arange(1, len(found) + 1), items[found]
    table = pd.DataFrame({"item": item, "rank": ranks, "similar_item": similar, "score": best.values.numpy()})
    return _with_titles(table, "similar_item", model)
