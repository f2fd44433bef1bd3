"""Blocks of the pages that a reader types into a shell, and the markers before them.

Every such block has a marker in an HTML comment on the line before it:

    <!-- run: NAME -->                 run by tests/docs/test_commands.py, all blocks of a NAME in order, in one folder
    <!-- run: NAME after OTHER -->     the same, in the folder of OTHER, when its blocks have been run
    <!-- needs: network, minutes -->   not run, and why; its flags are compared with the help of the command

Options of `run`, after a semicolon: `exact` (output is compared to the last digit), `status 2` (every command of the
block ends with this status). In a `console` block, lines that start with "$ " are commands and the others are their
output, in which a line "..." or "[...]" stands for any lines.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

LANGUAGES = ("console", "bash", "sh", "shell")
MODULES = "data_prep|vaecf|ncf_tf|serving|horovod_launch|benchmarks|load_study|examples|docs"
COMMAND = re.compile(rf"\s*(\$ )?(python -m ({MODULES})\b|horovodrun\b|make\b|\. \.venv/|curl\b|docker\b|pip\b)")
"""The first line of an indented block that is a command of the project."""
FENCE = re.compile(r"^(?P<indent>\s*)(?P<ticks>```+|~~~+)\s*(?P<language>[\w+-]*)")
MARKER = re.compile(r"^\s*<!--\s*(?P<kind>run|needs):\s*(?P<text>.+?)\s*-->\s*$")
WILDCARDS = ("...", "[...]")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of a page, without its fence and its indent."""

    page: Path
    line: int
    """Number of its first line of text, from 1."""
    language: str
    """Of the fence; "" for an indented block."""
    marker: str
    """`run` or `needs`; "" without a marker."""
    text: str
    """What stands in the marker after its kind."""
    lines: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def words(self) -> list[str]:
        """The marker's text, divided at semicolons."""
        return [part.strip() for part in self.text.split(";")]

    @property
    def name(self) -> str:
        return self.words[0].partition(" after ")[0].strip()

    @property
    def after(self) -> str:
        """Name whose blocks are run first, in the same folder; "" for none."""
        return self.words[0].partition(" after ")[2].strip()

    @property
    def exact(self) -> bool:
        return "exact" in self.words[1:]

    @property
    def status(self) -> int:
        """Exit status that its commands must have."""
        found = [word.split()[1] for word in self.words[1:] if re.fullmatch(r"status \d+", word)]
        return int(found[0]) if found else 0


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of a block, and its output if the page shows it."""

    command: str
    output: tuple[str, ...] | None


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _marker_before(lines: Sequence[str], index: int) -> tuple[str, str]:
    """Kind and text of the marker on the line before `index`; an empty line may stand between."""
    before = index - 1
    if before >= 0 and not lines[before].strip():
        before -= 1
    found = MARKER.match(lines[before]) if before >= 0 else None
    return (found["kind"], found["text"]) if found else ("", "")


def _fenced(page: Path, lines: Sequence[str], start: int, fence: re.Match[str]) -> tuple[Block, int]:
    """The block whose fence is line `start`, and the index of the line after it."""
    end = start + 1
    while end < len(lines) and lines[end].strip() != fence["ticks"]:
        end += 1
    kind, text = _marker_before(lines, start)
    body = tuple(line.removeprefix(fence["indent"]) for line in lines[start + 1 : end])
    block = Block(page=page, line=start + 2, language=fence["language"], marker=kind, text=text, lines=body)
    return block, end + 1


def _indented(page: Path, lines: Sequence[str], start: int) -> tuple[Block, int]:
    end = start
    while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
        end += 1
    kind, text = _marker_before(lines, start)
    body = tuple(line[4:] for line in lines[start:end])
    return Block(page=page, line=start + 1, language="", marker=kind, text=text, lines=body), end


def blocks_of(page: Path, text: str) -> Iterator[Block]:
    """Blocks of a page that a reader types.

    These are fenced blocks of a shell's language, indented blocks that begin with a command, and blocks of Python that
    have a marker.
    """
    lines, index = text.splitlines(), 0
    while index < len(lines):
        fence = FENCE.match(lines[index])
        begins = lines[index].startswith("    ") and (
            index == 0 or not lines[index - 1].strip() or MARKER.match(lines[index - 1])
        )
        if fence:
            block, index = _fenced(page, lines, index, fence)
            if block.language in LANGUAGES or (block.language == "python" and block.marker):
                yield block
        elif begins:
            block, index = _indented(page, lines, index)
            if COMMAND.match(block.lines[0]):
                yield block
        else:
            index += 1


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page, page.read_text())]


def _is_complete(command: str) -> bool:
    """Whether bash would run it now, instead of asking for another line."""
    done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stderr and not command.endswith("\\")


def steps_of(block: Block) -> list[Step]:
    """The commands of a block in the order in which they are typed, comments left out."""
    if block.language == "python":
        return [Step(command="python - <<'END_OF_BLOCK'\n" + "\n".join(block.lines) + "\nEND_OF_BLOCK", output=None)]
    prompts = block.language == "console" or block.lines[0].startswith("$ ")
    steps: list[Step] = []
    pending, shown = "", []
    for line in (*block.lines, None):
        typed = line is not None and (line.startswith("$ ") or not prompts or bool(pending))
        if steps and prompts and not pending and (typed or line is None):
            steps[-1] = Step(command=steps[-1].command, output=tuple(shown))
            shown = []
        if line is None:
            break
        if not typed:
            shown.append(line)
            continue
        typed_text = line.removeprefix("> " if pending else "$ ") if prompts else line
        pending = f"{pending}\n{typed_text}" if pending else typed_text
        if not pending.strip() or pending.lstrip().startswith("#"):
            pending = ""
        elif _is_complete(pending):
            steps.append(Step(command=pending, output=None))
            pending = ""
    if pending:
        raise ValueError(f"{block.place}: the last command is not complete: {pending!r}")
    return steps
