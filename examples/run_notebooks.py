"""Execute the notebooks and store them with their output: ``python -m examples.run_notebooks``.

Needs the extra `dev`. Takes about two minutes on 2 CPU cores. Run it after a change of the code or of a notebook;
the tests execute the notebooks too, and compare what they find with what is stored.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
NOTEBOOKS = ("your_table", "comparing_two_models")
SECONDS = 300
"""Longest time of one cell."""


def environment() -> dict[str, str]:
    """The environment of a kernel: this project's code, `shop` beside the notebook, and no ranks."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
    paths = [str(FOLDER.parent), str(FOLDER), *filter(None, [own.get("PYTHONPATH")])]
    # Without ipywidgets tqdm warns and shows text; a stored notebook is read where widgets do not work.
    return own | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore:IProgress not found"}


def read(name: str) -> nbformat.NotebookNode:
    """The stored notebook."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def executed(name: str, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the output of a new kernel that works in `folder`.

    Raises:
        CellExecutionError: a cell failed; the message holds its traceback.
    """
    notebook = read(name)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    client.execute(env=environment())
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs with pieces of one stream that follow each other put together.

    How a stream is cut depends on the machine's load. (nbclient can join them, but moves all errors to the end.)
    """
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream" and output.name == joined[-1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def store(name: str, notebook: nbformat.NotebookNode) -> None:
    """Write a notebook without what depends on the machine: times, versions, generated ids."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place:02d}"
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in ("tags",) if key in cell.metadata})
    nbformat.validate(notebook)
    nbformat.write(notebook, FOLDER / f"{name}.ipynb")


def main() -> int:
    """Execute and store all notebooks."""
    for name in NOTEBOOKS:
        print(f"executing {name} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            store(name, executed(name, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
