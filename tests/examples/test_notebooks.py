"""The notebooks: executed, and compared with the output that is stored in them."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from examples.run_notebooks import FOLDER, NOTEBOOKS, executed, read, store
from tests.examples.comparing import differences, text


def test_every_notebook_is_executed() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_stored_output_is_what_the_code_gives(name: str, tmp_path: Path) -> None:
    """If it is not: `python -m examples.run_notebooks`, and look at what has changed."""
    found = differences(read(name), executed(name, tmp_path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_stored(name: str) -> None:
    """Every cell was executed, in order, without warnings; nothing of the machine is in the file."""
    notebook = read(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    content = (FOLDER / f"{name}.ipynb").read_text()
    assert not re.findall(r'"/|/tmp|/home|/root|site-packages', re.sub(r'"image/png": "[^"]*"', "", content))
    said = "\n".join(text(cell) for cell in code)
    assert not re.findall(r"Warning|Traceback|tensorflow/core|oneDNN|cuda", said)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_code_fits_the_page(name: str) -> None:
    lines = [line for cell in read(name).cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 100


@pytest.fixture
def notebook() -> Any:
    """A stored notebook: a cell for each tag, as the notebooks have them."""
    return read("your_table")


def _cell(notebook: Any, tag: str) -> Any:
    return next(c for c in notebook.cells if c.cell_type == "code" and tag in c.metadata.get("tags", [""]))


def _changed(notebook: Any, tag: str, old: str, new: str) -> Any:
    other = copy.deepcopy(notebook)
    for output in _cell(other, tag).outputs:
        if output.output_type == "stream":
            output.text = re.sub(old, new, output.text)
        else:
            output.data["text/plain"] = re.sub(old, new, output.data["text/plain"])
    assert text(_cell(other, tag)) != text(_cell(notebook, tag))
    return other


@pytest.mark.parametrize(
    ("tag", "old", "new", "agrees"),
    [
        ("training", r"(0\.\d\d)\d", r"\g<1>9", True),  # the third digit
        ("training", r"0\.4", "0.6", False),
        ("training", "ease", "cosine", False),
        ("training", r"\nrecall@50.*", "", False),
        ("ranking", r"\d\.\d\d\b", "1.00", True),
        ("ranking", r"\S+ +(\d) +\S+ \S+ +\d\.\d\d\b", r"x \1 y", False),
        ("ranking", r"\n4 .*", "", False),
        ("kinds", r"\d+", "7", True),
    ],
)
def test_differences_are_found(notebook: Any, tag: str, old: str, new: str, agrees: bool) -> None:
    assert (differences(notebook, _changed(notebook, tag, old, new)) == []) is agrees


def test_an_untagged_cell_must_say_the_same(notebook: Any) -> None:
    other = copy.deepcopy(notebook)
    cell = next(c for c in other.cells if c.cell_type == "code" and "customers" in text(c))
    cell.outputs[0].text = cell.outputs[0].text.replace("2,000", "2,001")
    assert len(differences(notebook, other)) == 1


@pytest.mark.parametrize("tag", ["training", "kinds"])
def test_an_output_that_is_missing_is_found(notebook: Any, tag: str) -> None:
    other = copy.deepcopy(notebook)
    _cell(other, tag).outputs = []
    assert len(differences(notebook, other)) == 1


def test_storing_twice_gives_the_same_file(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.run_notebooks.FOLDER", tmp_path)
    notebook.metadata["widgets"] = {"state": {}}
    notebook.cells[0].id = "ab12cd34"
    store("your_table", notebook)
    assert (tmp_path / "your_table.ipynb").read_text() == (FOLDER / "your_table.ipynb").read_text()
