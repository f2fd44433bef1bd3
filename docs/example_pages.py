"""Pages of the site from examples/: notebooks with their stored output, and links between examples/ and docs/."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<file>[\w./-]+\.(?:md|py|ipynb))(?P<anchor>#[\w-]+)?\)")


def with_links(text: str, pages: str) -> str:
    """Text of examples/ with its links as links between the pages of the site; scripts, which are no pages, are named.

    Args:
        pages: path from the page that gets the text to the folder of the pages, as "../" or "".
    """

    def replace(match: re.Match[str]) -> str:
        file, anchor = match["file"], match["anchor"] or ""
        if file.startswith("../docs/"):
            return f"[{match['text']}]({pages}{file.removeprefix('../docs/')}{anchor})"
        if file == "README.md":
            return f"[{match['text']}]({pages}examples.md{anchor})"
        if file.endswith(".ipynb"):
            return f"[{match['text'].removesuffix('.ipynb')}]({pages}notebooks/{file.removesuffix('.ipynb')}.md)"
        return match["text"] if file in match["text"] else f"{match['text']} (`examples/{file}`)"

    return LINK.sub(replace, text)


def _text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else "".join(value)


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
            parts.append(with_links(source, "../"))
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
