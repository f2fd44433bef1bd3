"""``--help`` fits a screen or two and has the common flags; ``--help-all`` has all; rare flags work without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from data_prep.__main__ import main
from data_prep.arguments import build_parser
from data_prep.catalog import entries
from tests.conftest import ROOT, _environment

COMMON = (
    "--raw", "--download", "--out", "--titles", "--overwrite", "--user-column", "--item-column", "--rating-column",
    "--time-column", "--delimiter", "--threshold", "--min-user-items", "--min-item-users", "--protocol",
    "--held-out-users", "--help-all",
)  # fmt: skip
RARE = (
    "--fold-out-share", "--negatives", "--candidates", "--seed", "--users", "--no-ratings", "--write-csv",
)  # fmt: skip


def shown(flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        main([flag])
    assert not left.value.code
    return capsys.readouterr().out


def test_the_help_is_short(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown("--help", capsys, monkeypatch)
    lines = text.splitlines()
    assert len(lines) <= 60
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0] == "usage: python -m data_prep NAME (--raw PATH | --download) [--out DIR] [options]"
    assert all(any(line.startswith(f"  {flag} ") or line == f"  {flag}" for line in lines) for flag in COMMON)
    assert not any(line.startswith(f"  {flag} ") for line in lines for flag in RARE)
    assert "examples:\n  python -m data_prep ml-1m --download --out data/ml-1m\n" in text
    own, known = text.split("\ndata sets:\n")[1].split("\n\n")[0].split("known data sets:\n")
    assert [line.split()[0] for line in own.splitlines()] == ["table", "he2017", "transcode", "synthetic", "FILE.yaml"]
    assert [name.strip(",") for name in known.split()] == list(entries.names())


def test_every_flag_is_in_help_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown("--help-all", capsys, monkeypatch).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert all(any(line.startswith(f"  {flag}") for line in lines) for flag in (*COMMON, *RARE, "--like", "--items"))
    assert any("mpirun -np 4 python -m data_prep netflix" in line for line in lines)


def test_rare_flags_need_no_help() -> None:
    args = build_parser().parse_args(["csv", "--seed", "5", "--fold-out-share", "0.3", "--negatives", "7"])
    assert (args.seed, args.fold_out_share, args.negatives, args.candidates) == (5, 0.3, 7, "clean")


def test_the_help_imports_no_library_of_numbers() -> None:
    code = "import sys, data_prep.__main__; print(sorted(set(sys.modules) & {'numpy', 'pandas', 'scipy', 'pyarrow'}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=_environment(None), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
