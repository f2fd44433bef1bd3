"""Compares a command line of the documentation with the help of the command, without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache

from docs.help_texts import all_texts
from tests.conftest import ROOT

FLAG = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
OF_OTHERS = {"horovodrun": {"-np", "--gloo", "-H", "--timeline-filename"}, "mpirun": {"-np"}}
MODULES_OF_OTHERS = {"http.server"}
GONE = {"benchmarks.training.steps"}
"""Modules of earlier versions that docs/results.md names for the figures made with them."""


@cache
def help_texts() -> Mapping[str, str]:
    """Command -> its help; read once, it takes some seconds."""
    return all_texts()


@cache
def known_flags(command: str) -> frozenset[str]:
    """The flags in the help of a command; a switch `--[no-]x` has both names."""
    found = FLAG.findall(help_texts()[command].replace("--[no-]", "--no-"))
    return frozenset([*found, *(flag.replace("--no-", "--") for flag in found)])


@cache
def all_flags() -> frozenset[str]:
    """The flags of all commands, and those of other programs that the pages may name."""
    own = {flag for command in help_texts() for flag in known_flags(command)}
    return frozenset(own.union(*OF_OTHERS.values(), {"--help", "--help-all"}))


def _segments(command: str) -> list[list[str]]:
    """The words of each simple command in a command line; redirections end one."""
    reader = shlex.shlex(command, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in reader:
        if word and set(word) <= set("|;&<>()"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def _flags(words: Sequence[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if FLAG.match(word)]


def _named(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The longest command that the words begin with, and the words after it."""
    for count in (3, 2, 1):
        name = " ".join(words[:count])
        if name in help_texts():
            return name, words[count:]
    return words[0], words[1:]


def _of_module(words: Sequence[str]) -> list[str]:
    """Faults of `python -m WORDS`."""
    command, rest = _named(words)
    if any(word.isupper() for word in words[:2]):  # a placeholder, as NAME
        return []
    if command not in help_texts():
        if command in MODULES_OF_OTHERS | GONE:
            return []
        base = ROOT.joinpath(*command.split("."))
        known = base.with_suffix(".py").is_file() or (len(words) == 1 and (base / "__main__.py").is_file())
        return [] if known else [f"no command python -m {' '.join(words[:2])}"]
    faults = []
    if "--" in rest and command.startswith("horovod_launch "):
        place = list(rest).index("--")
        module = [word for word in rest[:place] if word in help_texts()]
        faults = _of_module([*module, *rest[place + 1 :]]) if module else [f"{command}: no module before --"]
        rest = rest[:place]
    elif command.startswith("benchmarks "):
        rest = rest[: list(rest).index("--")] if "--" in rest else rest
    return faults + [f"{command} has no {flag}" for flag in _flags(rest) if flag not in known_flags(command)]


def _of_make(words: Sequence[str]) -> list[str]:
    text = (ROOT / "Makefile").read_text()
    faults = []
    for word in words:
        name, sign, _ = word.partition("=")
        wanted = rf"^{re.escape(name)} *[?:]?=" if sign else rf"^{re.escape(name)}:"
        if not re.search(wanted, text, re.MULTILINE):
            faults.append(f"make has no {name}")
    return faults


def faults(command: str) -> list[str]:
    """What is wrong with a command line: unknown commands, flags and targets."""
    found = []
    for words in _segments(command):
        program = words[0]
        if program == "make":
            found += _of_make(words[1:])
        for place, word in enumerate(words):
            if word == "python" and words[place + 1 : place + 2] == ["-m"] and words[place + 2 :]:
                found += _of_module(words[place + 2 :])
                before = words[:place]
                known = OF_OTHERS.get(program, set())
                found += [f"{program} has no {f}" for f in _flags(before) if f not in known]
                break
    return found
