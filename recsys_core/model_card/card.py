"""The model card as Markdown, and as a page in the look of the reports."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_core.measuring import page
from recsys_core.model_card import facts

MARKDOWN, HTML = "MODEL_CARD.md", "MODEL_CARD.html"
USE = """Run these where the program is installed; RUN is the folder that holds this export.

```bash
python -m serving recommend --export RUN --items 1,2,3
python -m serving batch --export RUN --out recommendations
python -m serving convert --export RUN --to onnx
```"""


def _cell(text: str) -> str:
    """Text of a table's cell: on one line, and not read as Markdown or HTML."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in "|*_`[]\\" else c for c in plain)


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    lines = [header, ["---"] * len(header)]
    body = [[_cell(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *body])


def _metrics(rows: facts.Rows, above: str = "") -> str:
    """A table of metrics, its header first."""
    return above + _table(rows[1:], rows[0]) if rows[1:] else "Not measured."


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def as_markdown(export: Mapping[str, Any], result: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The card.

    Args:
        export: the content of `export.json`.
        result: the content of `result.json`.
        manifest: of the data set; empty for one in memory.
    """
    settings = {k: v for k, v in export["model"].items() if k != "package"}
    test, validation = (facts.metric_rows(result, split) for split in ("test", "validation"))
    gate = facts.gate_lines(result)
    sections = {
        "Model": _table(
            [("family", export["model"]["package"]), *((name, str(value)) for name, value in settings.items())],
            ("setting", "value"),
        ),
        "Data": _table(facts.data_rows(manifest, export), ("field", "value")),
        "Protocol": "\n\n".join(facts.protocol_lines(manifest, result)),
        "Test": _metrics(test, "Means over the test users with their 95 % intervals.\n\n"),
        "Validation": _metrics(validation) + (f"\n\n{_list(gate)}" if gate else ""),
        "Limits": _list(facts.limit_lines(export)),
        "Use": USE,
        "Versions": _table(facts.version_rows(), ("package", "version")),
    }
    name = _cell(str(manifest.get("parameters", {}).get("name", "") or "a table in memory"))
    title = f"# Model card: {export['model']['package']} on {name}"
    return "\n\n".join([title, *(f"## {heading}\n\n{text}" for heading, text in sections.items())]) + "\n"


def as_html(markdown: str) -> str:
    """A card as a page that asks no other host for anything."""
    from markdown import markdown as convert  # type: ignore[import-untyped]

    title = markdown.partition("\n")[0].removeprefix("# ")
    body = convert(markdown, extensions=["tables", "fenced_code"])
    body = body.replace("<table>", "<div class=scroll><table>").replace("</table>", "</table></div>")
    return page.frame(title.replace("\\", ""), body)


def write(folder: Path, export: Mapping[str, Any], result: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Write both files of the card into an export that is being made."""
    text = as_markdown(export, result, manifest)
    (folder / MARKDOWN).write_text(text, encoding="utf-8")
    (folder / HTML).write_text(as_html(text), encoding="utf-8")
