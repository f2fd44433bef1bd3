"""Checks the words of a training command line, so that a wrong flag is answered in one line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from recsys_core.flag_list import WORDS, Flag


def check_words(words: Sequence[str], flags: Sequence[Flag], others: Sequence[str], command: str) -> None:
    """Check that every word is a known flag or its value, and that no required flag is missing.

    Args:
        others: flags that were read before, for suggestions.
        command: what the user types before the flags, as "python -m vaecf.train".

    Raises:
        ValueError: one line that says which word is wrong and what to type.
    """
    known = {name: flag for flag in flags for name in flag.names}
    given: set[str] = set()
    for name, values in _split(words):
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *others], n=1)
            hint = f"did you mean {near[0]}?" if near else f"all flags: {command} --help-all"
            raise ValueError(f"unknown flag {name}; {hint}")
        _check_values(name, values, known[name], command)
        given.add(name)
    missing = [flag.name for flag in flags if flag.is_required and flag.name not in given]
    if missing:
        example = {"--data": "--data DATA_SET", "--run-dir": "--run-dir NEW_FOLDER"}
        typed = " ".join(example.get(flag.name, flag.name) for flag in flags if flag.is_required)
        verb = "is" if len(missing) == 1 else "are"
        raise ValueError(
            f"{' and '.join(missing)} {verb} missing; type: {command} {typed} "
            "(DATA_SET is a folder that python -m data_prep made)"
        )


def _split(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each flag with its values; `--name=value` and `--some_name` are read as tyro reads them."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, sign, value = word.partition("=")
            found.append((name.replace("_", "-"), [value] if sign else []))
        elif found:
            found[-1][1].append(word)
        else:
            raise ValueError(f"{word!r} stands without a flag; --help shows the flags")
    return found


def _check_values(name: str, values: Sequence[str], flag: Flag, command: str) -> None:
    if flag.kind is bool:
        if values:
            raise ValueError(f"{name} takes no value, {' '.join(values)!r} follows it; see {command} --help")
        return
    expected = WORDS[flag.kind][1] if flag.kind in WORDS else "a value"
    if not flag.many and not values:
        raise ValueError(f"{name} has no value, expected {expected}; see --help")
    if not flag.many and len(values) > 1:
        raise ValueError(f"{name} takes one value, {' '.join(values)!r} follows it; quote a value that has spaces")
    for value in values:
        if not _is_readable(value, flag):
            raise ValueError(f"{name} is {value!r}, expected {expected}; see --help")


def _is_readable(value: str, flag: Flag) -> bool:
    if flag.kind not in (int, float) or (value == "None" and flag.default is None):
        return True
    try:
        flag.kind(value)
    except ValueError:
        return False
    return True
