"""Classes with the attributes and signatures that `record_api` read from the bindings of a TensorRT version.

An attribute that the version does not have raises AttributeError, arguments that no signature takes TypeError, as the
bindings do. Behaviour is added in `fake`.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

API = Path(__file__).parent / "api"
VERSIONS = tuple(sorted((p.stem for p in API.glob("*.json")), key=lambda v: tuple(map(int, v.split(".")))))
Behaviour = dict[str, Callable[..., Any]]


def _signature(text: str) -> inspect.Signature:
    """Names and defaults of a line such as `parse(self: OnnxParser, model: Buffer, path: str = None) -> bool`."""
    inside = re.sub(r"<[^>]*>", "None", text[text.index("(") + 1 : text.rindex(")")])
    parameters = []
    for part in filter(None, re.split(r",\s*(?![^\[]*\])", inside)):
        name, _, default = part.partition("=")
        value = None if default else inspect.Parameter.empty
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(name.split(":")[0].strip(), kind, default=value))
    return inspect.Signature(parameters)


def _method(name: str, lines: list[str], behaviour: Callable[..., Any] | None) -> Callable[..., Any]:
    """A method that takes what one of its signatures takes."""
    overloads = [_signature(line) for line in lines]

    def call(self: Any, *args: Any, **named: Any) -> Any:
        for overload in overloads:
            try:
                bound = overload.bind(self, *args, **named)
            except TypeError:
                continue
            if behaviour is None:
                raise NotImplementedError(f"the fake {name} does nothing")
            return behaviour(*bound.args, **bound.kwargs)
        raise TypeError(f"{name}(): incompatible function arguments: {args} {named}; there are {lines}")

    return call


def _class(name: str, members: dict[str, list[str] | None], behaviours: Behaviour) -> type:
    """A class with these members and no others."""
    values = {m for m, lines in members.items() if lines is None}

    def set_attribute(self: Any, key: str, value: Any) -> None:
        if not key.startswith("_") and key not in values and type(self).__module__ == __name__:
            raise AttributeError(f"'{name}' object has no attribute '{key}'")
        object.__setattr__(self, key, value)

    body: dict[str, Any] = {"__setattr__": set_attribute, "__module__": __name__}
    for member, lines in members.items():
        behaviour = behaviours.get(f"{name}.{member}")
        if lines is not None:
            body[member] = _method(f"{name}.{member}", lines, behaviour)
        elif behaviour is not None:
            body[member] = property(behaviour)
    return type(name, (), body)


def module(version: str, behaviours: Behaviour) -> SimpleNamespace:
    """A module in place of `tensorrt`: the classes and enums of a version.

    Args:
        behaviours: "Class.method" -> what it does; a property has a function of the object alone.
    """
    recorded = json.loads((API / f"{version}.json").read_text())
    unknown = {key for key in behaviours if key.split(".")[0] not in recorded["classes"]}
    assert not unknown, f"no class of TensorRT {version}: {unknown}"
    made = SimpleNamespace(__version__=recorded["version"])
    for name, members in recorded["enums"].items():
        setattr(made, name, enum.IntEnum(name, members))
    for name, members in recorded["classes"].items():
        setattr(made, name, _class(name, members, behaviours))
    severity = enum.IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)
    for name in ("ILogger", "Logger"):
        setattr(getattr(made, name), "Severity", severity)  # noqa: B010
    made.Logger.WARNING = severity.WARNING
    return made
