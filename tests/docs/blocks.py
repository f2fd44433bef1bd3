"""The command blocks of the documentation, their markers, and the command lines in them.

A `bash` or `console` block has a comment on the line before it that says how it is tested:

    <!-- run: NAME -->            a test runs all blocks of this name, in order, in one folder (test_run_blocks.py)
    <!-- run: NAME; background until: COMMAND -->
                                  the same, in the background; the next block waits until COMMAND succeeds
    <!-- run: NAME; output: exact -->
                                  the output shown in a `console` block is compared letter by letter
    <!-- run: NAME; output: varies -->
                                  it is not compared (default: numbers and table rows may differ)
    <!-- run by: TEST FILE -->    another test runs it
    <!-- needs: WHAT -->          it is not run, because it needs this
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
FENCE = re.compile(r"^```(\w*)")
MARKER = re.compile(r"^<!-- (run by|run|needs): (.+) -->$")
COMMAND_START = re.compile(r"^(\$ )?(python|make|horovodrun|mpirun|docker|kubectl|sbatch|curl|pip)\b")
LANGUAGES = ("bash", "console")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One command as a reader types it, and the output that the page shows for it."""

    command: str
    output: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Block:
    """One command block of a page."""

    page: Path
    number: int
    """The line at which it begins."""
    kind: str = ""
    """run, run by, needs, or "" without a marker."""
    value: str = ""
    """The name, the file, or the need."""
    options: dict[str, str] = field(default_factory=dict)
    lines: Sequence[Line] = ()

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"


def _is_whole(command: str) -> bool:
    """Whether a command ends here: no open quotes, no backslash at its end."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\")


def command_lines(body: Sequence[str], language: str) -> list[Line]:
    """The commands of a block. In a `console` block they begin with `$ `, and what follows is their output."""
    found: list[Line] = []
    command: str | None = None
    for text in body:
        if command is not None:
            command += "\n" + text
        elif language == "console" and not text.startswith("$ "):
            if found:
                found[-1] = Line(command=found[-1].command, output=[*found[-1].output, text])
            continue
        elif not text.strip() or text.lstrip().startswith("#"):
            continue
        else:
            command = text.removeprefix("$ ") if language == "console" else text
        if _is_whole(command):
            found.append(Line(command=command))
            command = None
    if command is not None:
        raise ValueError(f"no end of the command {command!r}")
    return found


def _marked(text: str) -> tuple[str, str, dict[str, str]]:
    """Kind, value and options of the marker in a line; empty where there is none."""
    match = MARKER.match(text)
    if not match:
        return "", "", {}
    value, *options = match[2].split("; ")
    return match[1], value, {key: rest for key, _, rest in (option.partition(": ") for option in options)}


def parse(page: Path, text: str) -> list[Block]:
    """The command blocks of a page."""
    found, lines, start = [], text.splitlines(), None
    for number, line in enumerate(lines):
        if start is None and FENCE.match(line):
            start = number
        elif start is not None and line.startswith("```"):
            language = FENCE.match(lines[start])[1]  # type: ignore[index]
            if language in LANGUAGES:
                kind, value, options = _marked(lines[start - 1] if start else "")
                own = command_lines(lines[start + 1 : number], language)
                found.append(
                    Block(page=page, number=start + 1, kind=kind, value=value, options=options, lines=tuple(own))
                )
            start = None
    return found


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """The command blocks of a page of the project."""
    return tuple(parse(page, page.read_text()))


def stray_commands(text: str) -> list[str]:
    """Commands in blocks that no marker can belong to: indented ones, and fences of another language."""
    found, language = [], None
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence:
            language = None if language is not None else fence[1]
            continue
        inside = language is not None and language not in (*LANGUAGES, "text")
        if (inside or (language is None and line.startswith("    "))) and COMMAND_START.match(line.strip()):
            found.append(line.strip())
    return found
