"""Configurations with some fields changed, and what differs between two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import dacite

from recsys_core.config import check, plain


def changed(components: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Components with some fields changed, each field by its own name in whichever component has it.

    Args:
        components: name -> configuration dataclass.
        changes: field -> value, or component name -> another dataclass of its type.

    Raises:
        ValueError: a name that is neither a field nor a component (the known ones are listed), or a bad value.
    """
    result = dict(components)
    owners = {f.name: name for name, component in components.items() for f in dataclasses.fields(component)}
    assert len(owners) == sum(len(dataclasses.fields(c)) for c in components.values()), "components share a name"
    for name in sorted(changes, key=lambda n: n not in components):  # whole components before their fields
        value = changes[name]
        if name in components:
            if not isinstance(value, type(components[name])):
                raise ValueError(f"{name} is a {type(value).__name__}, expected a {type(components[name]).__name__}")
            result[name] = value
        elif name in owners:
            result[owners[name]] = _with_field(result[owners[name]], name, value)
        else:
            raise ValueError(f"unknown setting {name!r}, known are: {', '.join(owners)}")
    for component in result.values():
        check(component)
    return result


def _with_field(component: Any, name: str, value: Any) -> Any:
    """The component with another value of a field, which must be of the field's type."""
    values = {f.name: getattr(component, f.name) for f in dataclasses.fields(component)}
    if isinstance(values[name], tuple) and isinstance(value, str):
        value = (value,)  # one name instead of a list of one
    number = {float: lambda v: float(v) if isinstance(v, int) and not isinstance(v, bool) else v}
    try:
        return dacite.from_dict(type(component), values | {name: value}, dacite.Config(cast=[tuple], type_hooks=number))
    except (dacite.DaciteError, TypeError, ValueError):
        kind = next(f.type for f in dataclasses.fields(component) if f.name == name)
        raise ValueError(f"{name} is {value!r}, expected {kind}") from None


def differences(old: Any, new: Any, free: Sequence[str] = ()) -> list[tuple[str, Any, Any]]:
    """(dotted name, old value, new value) of every setting that differs and is not free."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            inner = flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
            found |= inner
        return found

    then, now = flat(plain(old)), flat(plain(new))
    return [(n, then.get(n), now.get(n)) for n in then | now if n not in free and then.get(n) != now.get(n)]
