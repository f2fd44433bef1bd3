"""The flags of a configuration: name, type, default and help text of each field, read from the dataclasses."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import tyro

WORDS: dict[Any, tuple[str, str]] = {
    int: ("N", "a whole number"),
    float: ("X", "a number"),
    Path: ("PATH", "a path"),
    str: ("TEXT", "a text"),
}
"""Type of a value -> its placeholder in the help, and its name in messages."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag."""

    path: str
    """Where the setting is in the configuration, as "training.epochs"."""
    kind: Any
    """Type of one value: int, float, str, Path or bool."""
    many: bool
    """Whether it takes any number of values."""
    default: Any
    about: str
    """The field's docstring on one line."""

    @property
    def name(self) -> str:
        """As it is typed."""
        return f"--{self.path.rpartition('.')[2].replace('_', '-')}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it is known by."""
        return (self.name, f"--no-{self.name[2:]}") if self.kind is bool else (self.name,)

    @property
    def is_required(self) -> bool:
        return self.default is tyro.MISSING

    @property
    def shown(self) -> str:
        """Name and placeholder of the value, as in the help."""
        if self.kind is bool:
            return f"--[no-]{self.name[2:]}" if self.default else self.name
        word = WORDS[self.kind][0] if self.kind in WORDS else "VALUE"
        return f"{self.name} {word} ..." if self.many else f"{self.name} {word}"

    @property
    def explained(self) -> str:
        """The help text with the default."""
        if self.is_required:
            return f"{self.about} (required)"
        if self.kind is bool:
            return f"{self.about} (default: yes)" if self.default else self.about
        if self.default in ("", (), None):
            return self.about
        value = " ".join(map(str, self.default)) if self.many else self.default
        return f"{self.about} (default: {value})"


def flags_of(config: Any, prefix: str = "") -> list[Flag]:
    """Every flag of a configuration, its own before those of its components."""
    texts, hints = _docstrings(type(config)), get_type_hints(type(config))
    own, inner = [], []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            inner += flags_of(value, f"{prefix}{field.name}.")
            continue
        kind, many = _type_of_value(hints[field.name])
        own.append(
            Flag(path=f"{prefix}{field.name}", kind=kind, many=many, default=value, about=texts.get(field.name, ""))
        )
    return own + inner


def _type_of_value(hint: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several."""
    if get_origin(hint) is tuple:
        return get_args(hint)[0], True
    others = [part for part in get_args(hint) if part is not NoneType]  # of `int | None`
    return (others[0] if len(others) == 1 else hint), False


def _docstrings(kind: type) -> dict[str, str]:
    """Field -> the docstring under it, also of inherited fields."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            found |= dict(_own_docstrings(base))
    return found


def _own_docstrings(kind: type) -> Iterator[tuple[str, str]]:
    body: Sequence[ast.stmt] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    for field, text in pairwise(body):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            yield field.target.id, " ".join(text.value.value.split())
