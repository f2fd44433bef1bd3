"""Flags of the commands in the pages, compared with the help of the commands."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Sequence

from docs import help_texts
from tests.conftest import ROOT

FLAG = re.compile(r"--[a-z][a-z0-9-]*")
ENDS = ("&&", "||", "|", ";", "&", ">", ">>", "2>", "2>&1", "#")
"""Words at which a command of a line ends."""
PLACEHOLDERS = ("...", "COMMAND", "NAME", "MODULE")


def commands_in(line: str) -> Iterator[list[str]]:
    """The words after `python -m` of each command in a line."""
    words = shlex.split(line.replace("\\\n", " "), comments=True)
    for index in range(len(words) - 1):
        if words[index].startswith("python") and words[index + 1] == "-m":
            rest = words[index + 2 :]
            end = next((at for at, word in enumerate(rest) if word in ENDS or word.endswith(";")), len(rest))
            yield rest[:end]


@functools.cache
def known_flags(command: str) -> frozenset[str]:
    """Flags in the help of a command, as "serving triton build"."""
    texts = help_texts.all_texts((command.split()[0],))
    return frozenset(FLAG.findall(texts[command]))


def _command_of(words: Sequence[str]) -> str:
    """The longest name of a command with which the words begin.

    Raises:
        ValueError: none is known.
    """
    names = sorted(help_texts.names(), key=len, reverse=True)
    first = [word.split("|")[0] for word in words]
    for name in names:
        if first[: len(name.split())] == name.split():
            return name
    raise ValueError(f"python -m {' '.join(words)}: no such command; known are {', '.join(sorted(names))}")


def wrong_flags(words: Sequence[str]) -> list[str]:
    """What is wrong with a command: a module or an action that does not exist, or flags that its help does not have."""
    module = words[0]
    if module.split(".")[0] in ("examples", "docs"):
        path = ROOT.joinpath(*module.split("."))
        return [] if path.with_suffix(".py").exists() or path.is_dir() else [f"no module {module}"]
    if module.split(".")[0] not in {name.split()[0].split(".")[0] for name in help_texts.COMMANDS}:
        return []
    if len(words) == 1 or words[1] in ("--help", "--help-all"):
        return []
    own, theirs = list(words), []
    if "--" in words:
        at = list(words).index("--")
        own, inner = list(words[:at]), next((word for word in words[1:at] if word in help_texts.COMMANDS), "")
        theirs = [inner, *words[at + 1 :]] if inner else []
    try:
        command = _command_of(own)
    except ValueError as error:
        return [str(error)]
    used = {word.split("=")[0] for word in own if FLAG.fullmatch(word.split("=")[0])}
    wrong = [f"{command} has no {flag}" for flag in sorted(used - known_flags(command) - {"--help", "--help-all"})]
    return wrong + (wrong_flags(theirs) if theirs else [])
