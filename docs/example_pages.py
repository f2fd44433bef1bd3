"""Pages of the site from examples/: notebooks with their stored output, and a list of the scripts."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def _text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


LINKS = (
    (r"\]\(\.\./docs/", "](../"),
    (r"\]\(README\.md\)", "](../examples.md)"),
    (r"\]\((\w+)\.ipynb\)", r"](\1.md)"),
    (r"\[([^\]]+)\]\(\w+\.py\)", r"`examples/\1`"),
)
"""Links as they are in examples/, and as they are on the site (which has no scripts)."""


def site_links(text: str) -> str:
    """Text of a notebook with its links as the site needs them."""
    for there, here in LINKS:
        text = re.sub(there, here, text)
    return text


def _fence(language: str, text: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def _output(output: Mapping[str, Any], picture: Path) -> str:
    """Markdown of one output of a cell; a picture is written to a file."""
    data = output.get("data", {})
    if "image/png" in data:
        picture.write_bytes(base64.b64decode(_text(data["image/png"])))
        return f"![output of the cell above]({picture.name})"
    if "text/html" in data:
        return f'<div class="cell-output" markdown="0">\n{_text(data["text/html"]).strip()}\n</div>'
    if "text/plain" in data:
        return _fence("text", _text(data["text/plain"]))
    return _fence("text", _text(output.get("text", "")))


def notebook_page(notebook: Path, folder: Path) -> str:
    """Markdown of a notebook: text, code and stored output. Pictures are written into `folder`."""
    parts = []
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        source = _text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(site_links(source))
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(_fence("python", source))
            for place, output in enumerate(cell.get("outputs", ())):
                parts.append(_output(output, folder / f"{notebook.stem}-{number}-{place}.png"))
    return "\n\n".join(parts) + "\n"


def title_of(notebook: Path) -> str:
    """The first heading of a notebook, or its name."""
    for cell in json.loads(notebook.read_text())["cells"]:
        for line in _text(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return notebook.stem


def script_table(scripts: Sequence[Path]) -> str:
    """A table of the scripts: what each does (the first line of its docstring), and its command."""
    rows = ["| script | command |", "|---|---|"]
    for script in scripts:
        about = (ast.get_docstring(ast.parse(script.read_text())) or script.stem).splitlines()[0]
        rows.append(f"| {about.split(': ``')[0].rstrip('.')} | `python -m examples.{script.stem}` |")
    return "\n".join(rows)
