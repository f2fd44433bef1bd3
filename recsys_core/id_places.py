"""Where ids of one data set stand in another one, whatever their types.

Whole numbers are compared as whole numbers, other ids as they are; numbers and text are compared as text, because one
id that is no number makes a column of a newer file text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_core.matrices import storable


def places(old: pd.Series, new: pd.Series) -> npt.NDArray[np.int64]:
    """[N] the row in `old` of each id of `new`, -1 for an id that is not there.

    Args:
        old: distinct ids.
        new: [N] ids.
    """
    there, here = _whole(_stored(old)), _whole(_stored(new))
    if pd.api.types.is_numeric_dtype(there.dtype) != pd.api.types.is_numeric_dtype(here.dtype):
        there, here = there.map(str), here.map(str)
    index = pd.Index(there)
    rows = index.drop_duplicates().get_indexer(pd.Index(here))
    return np.where(rows >= 0, np.flatnonzero(~index.duplicated())[rows], -1)


def _stored(ids: pd.Series) -> pd.Series:
    """The ids as a Parquet file gives them back."""
    return storable(pd.DataFrame({"id": ids.reset_index(drop=True)}), "id")["id"]


def _whole(ids: pd.Series) -> pd.Series:
    """Whole numbers as int64, also where a column holds them as floats or as objects."""
    numbers = pd.api.types.infer_dtype(ids, skipna=False) in ("integer", "floating", "mixed-integer-float")
    if not numbers or pd.api.types.is_bool_dtype(ids.dtype):
        return ids.astype(object) if isinstance(ids.dtype, pd.CategoricalDtype | pd.StringDtype) else ids
    try:
        whole = ids.astype("int64")
    except (OverflowError, ValueError, TypeError):
        return ids
    return whole if bool((whole == ids).all()) else ids
