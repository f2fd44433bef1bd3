"""A program that reads a table and ends at once ends with its own status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from recsys_core.parquet import read_frame


def test_a_frame_comes_back_as_pandas_reads_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item_id": [7_000_000_123, 2], "title": ["Ünïcode", None], "year": [1990, None]})
    frame.to_parquet(tmp_path / "genre=drama.parquet")
    pd.testing.assert_frame_equal(read_frame(tmp_path / "genre=drama.parquet"), frame)
    typed = read_frame(tmp_path / "genre=drama.parquet", dtype_backend="numpy_nullable")
    pd.testing.assert_frame_equal(
        typed, pd.read_parquet(tmp_path / "genre=drama.parquet", dtype_backend="numpy_nullable")
    )


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_frame(tmp_path / "none.parquet")
    assert caught.value.filename == str(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="magic bytes"):
        read_frame(tmp_path / "bad.parquet")


def test_arrow_gets_no_python_file_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    given: list[object] = []
    read = pyarrow.parquet.read_table
    monkeypatch.setattr(
        pyarrow.parquet, "read_table", lambda source, **words: given.append(source) or read(source, **words)
    )
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.parquet")
    read_frame(tmp_path / "t.parquet")
    assert given == [str(tmp_path / "t.parquet")]


def test_a_program_that_ends_after_reading_keeps_its_status(tmp_path: Path) -> None:
    pd.DataFrame({"a": range(5_000), "b": [str(k) for k in range(5_000)]}).to_parquet(tmp_path / "t.parquet")
    program = "import sys; from pathlib import Path; from recsys_core.parquet import read_frame; "
    program += "read_frame(Path(sys.argv[1])); sys.exit(2)"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "t.parquet")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "")
