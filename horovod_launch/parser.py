"""The argparse parser of `python -m horovod_launch`: errors of one line. It repeats what it needs of
`recsys_core.parser`, because this package starts before anything is installed and imports nothing of ours.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class LaunchParser(argparse.ArgumentParser):
    """A parser whose messages say in one line what was given, what was expected and what to type."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        found, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._refuse(unknown[0], found, words)
        return found

    def _refuse(self, word: str, found: argparse.Namespace, words: Sequence[str]) -> None:
        flag, module = word.split("=")[0], getattr(found, "module", None)
        if module in words and words.index(module) < words.index(word):
            self.error(f"{flag} stands after {module}; write -- between them, as: {module} -- {flag} ...")
        own: argparse.ArgumentParser = self._subparsers._group_actions[0].choices[found.action]  # type: ignore[union-attr,index,call-overload]
        near = difflib.get_close_matches(flag, own._option_string_actions, n=1)
        own.error(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else ""))

    def error(self, message: str) -> NoReturn:
        print(f"error: {one_line(message)}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def one_line(message: str) -> str:
    """A message of argparse in plain words."""
    if match := re.fullmatch(r"argument (\S+): invalid int value: (.*)", message):
        return f"{match[1]} is {match[2]}, expected a whole number"
    if match := re.fullmatch(r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)", message):
        known = match[3].replace("'", "").split(", ")
        near = difflib.get_close_matches(match[2].strip("'"), known, n=1)
        return f"{match[1]} is {match[2]}, expected one of: {', '.join(known)}" + (
            f"; did you mean {near[0]}?" if near else ""
        )
    if match := re.fullmatch(r"the following arguments are required: (.*)", message):
        names = [name for name in match[1].split(", ") if name != "arguments"]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    if match := re.fullmatch(r"argument (\S+): expected one argument", message):
        return f"{match[1]} has no value"
    return message
