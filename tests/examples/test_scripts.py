"""The scripts: each runs, prints what its first lines say, and is in the list."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "examples"
SCRIPTS = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in {"__init__", "shop", "run_notebooks"})
Run = Callable[[str], str]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a script in this process; returns what it prints."""

    def call(name: str) -> str:
        import_module(f"examples.{name}").main()
        return capfd.readouterr().out

    return call


def _documented(name: str) -> str:
    return " ".join((import_module(f"examples.{name}").__doc__ or "").split())


def _row(table: str, name: str) -> list[float]:
    """The numbers of the first line of a table that begins with a name."""
    line, *_ = re.findall(rf"^{re.escape(name)} +(\S.*)$", table, re.MULTILINE)
    return [float(cell) for cell in line.split()]


def _expected(name: str, *values: float) -> list[Any]:
    """These values, which the script's first lines name too."""
    documented = _documented(name)
    assert all(f"{value:.2f}" in documented for value in values), f"{values} are not in: {documented}"
    return [pytest.approx(value, abs=0.03) for value in values]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_to_expect(name: str) -> None:
    documented = _documented(name)
    assert f"python -m examples.{name}" in documented
    assert re.search(r"Takes about (\d+|a) (second|minute)", documented)
    assert "Expect " in documented
    assert f"examples.{name}" in (FOLDER / "README.md").read_text()


def test_quickstart(run: Run) -> None:
    printed = run("quickstart")
    found = re.findall(r"value=([\d.]+).*'popularity': ([\d.]+)", printed)[0]
    assert [float(value) for value in found] == _expected("quickstart", 0.75, 0.32)
    similar = re.findall(r"sku-1 +\d +sku-(\d+)", printed)
    assert len(similar) == 3 and all(int(item) % 4 == 1 for item in similar)


def test_own_data(run: Run) -> None:
    same = "398 training users, 200 items, 5,864 interactions, 50 test users"
    printed = run("own_data")
    assert all(f"{way}: {same}" in printed for way in ("from_frame", "from_csr", "data_prep"))
    assert printed.count("ids such as 'c0000@example.org' and 'black belt'") == 3
    assert "users: column 'customer' (text; another: --user-column)" in printed
    assert "398 training users, 200 items and 5,864 interactions" in _documented("own_data")


@pytest.mark.slow
def test_train_vae(run: Run) -> None:
    printed = run("train_vae")
    model, _, popularity, ease = _row(printed, "ndcg@100")
    assert [model, popularity, ease] == _expected("train_vae", 0.50, 0.26, 0.47)
    assert "passed its gate: True" in printed


@pytest.mark.slow
def test_train_ncf(run: Run) -> None:
    printed = run("train_ncf")
    model, _, popularity = _row(printed, "hr@10/sampled")
    assert [model, popularity] == _expected("train_ncf", 0.48, 0.23)
    assert "passed its gate: True" in printed and printed.count("@example.org") == 5


@pytest.mark.slow
def test_evaluate(run: Run) -> None:
    printed = run("evaluate")
    rows = {name: _row(printed, name) for name in ("model", "ease", "popularity")}
    assert [values[0] for values in rows.values()] == _expected("evaluate", 0.22, 0.20, 0.06)
    assert all(rows[name][3] > 0 for name in ("model", "ease"))  # the lower ends of the intervals
    assert printed.count("@example.org") == 3


@pytest.mark.slow
def test_recommend(run: Run) -> None:
    first, second, similar = re.split(r"^ +user.*\n|^ +item.*\n", run("recommend"), flags=re.MULTILINE)[1:]
    kitchen = re.compile(r"(\w+) (mug|plate|bowl|teapot|tray)\b")
    assert len(kitchen.findall(first)) == len(kitchen.findall(second)) == 5
    assert "red" in {colour for colour, _ in kitchen.findall(first)}
    assert "tray" not in second
    assert "red" in similar


@pytest.mark.slow
def test_convert_and_serve(run: Run) -> None:
    lines = run("convert_and_serve").splitlines()
    answers = dict(line.split(": ") for line in lines if line.startswith(("TensorFlow", "ONNX")))
    assert answers["TensorFlow"] == answers["ONNX Runtime"]
    assert len(answers["TensorFlow"].split(", ")) == 5


@pytest.mark.slow
def test_own_callback(run: Run) -> None:
    printed = run("own_callback")
    epochs, ndcg = re.findall(r"stopped after (\d+) epochs; test NDCG@100 ([\d.]+)", printed)[0]
    assert int(epochs) < 100
    assert [float(ndcg)] == _expected("own_callback", 0.49)
    assert "exported: " in printed and "saved_model" in printed


@pytest.mark.slow
def test_linear_autoencoder_is_a_command(tiny_data: Path, command: Any, tmp_path: Path) -> None:
    """In a process of its own: there its classes are those of __main__."""
    words = ["--data", tiny_data, "--run-dir", tmp_path / "run", "--epochs", "8", "--gate", "ndcg@100>=0"]
    done = command([sys.executable, "-m", "examples.linear_autoencoder", *words])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "export" / "saved_model").is_dir()
