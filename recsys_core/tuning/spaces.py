"""The search space of a preset: what it declares, with the changes of `--space`, checked against its configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from recsys_core.config import Preset, check
from recsys_core.config_changes import changed
from recsys_core.search_space import Choice, Parameter, Real, Whole

NOT_SEARCHED = ("seed", "evaluate_every", "keep_checkpoints", "steps_per_call", "final_fit", "choose_on_test")
"""Settings that change no model, or would let it see the validation users."""
OUTSIDE = ("evaluation", "hardware")
"""Components that change how a model is judged and where it is trained, not the model."""


def components_of(config: Any) -> dict[str, Any]:
    """Name -> each component of a configuration that a search may change."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {name: v for name, v in values.items() if dataclasses.is_dataclass(v) and name not in OUTSIDE}


def known_settings(config: Any) -> dict[str, Any]:
    """Setting that may be searched -> the type of its value, in the order of the configuration."""
    found: dict[str, Any] = {}
    for component in components_of(config).values():
        hints = get_type_hints(type(component))
        found |= {f.name: hints[f.name] for f in dataclasses.fields(component) if f.name not in NOT_SEARCHED}
    return found


def base_values(config: Any) -> dict[str, Any]:
    """Setting -> its value, for all that may be searched."""
    values: dict[str, Any] = {}
    for component in components_of(config).values():
        values |= {f.name: getattr(component, f.name) for f in dataclasses.fields(component)}
    return {name: values[name] for name in known_settings(config)}


def with_settings(config: Any, settings: Mapping[str, Any]) -> Any:
    """A configuration with other values of some settings.

    Raises:
        ValueError: an unknown setting, or a value that cannot be used.
    """
    result = dataclasses.replace(config, **changed(components_of(config), settings))
    check(dataclasses.replace(result, data=Path(), run_dir=Path()))
    return result


def nested(config: Any, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by component, as a YAML file holds them; lists in place of tuples."""
    found: dict[str, dict[str, Any]] = {}
    for name, component in components_of(config).items():
        own = {f.name for f in dataclasses.fields(component)} & set(settings)
        values = {n: list(v) if isinstance(v, tuple) else v for n, v in settings.items() if n in own}
        found |= {name: values} if values else {}
    return found


def space_of(preset: Preset, given: Sequence[str] = ()) -> dict[str, Parameter]:
    """The parameters that a search tries: those that the preset declares, changed and joined by `--space`.

    Args:
        given: texts NAME=LOW..HIGH, NAME=LOW..HIGH:log, NAME=A,B,C or NAME=VALUE.

    Raises:
        ValueError: an unknown setting (the known ones are listed), a text of another form, a value that cannot be used,
            or nothing to search.
    """
    space = dict(preset.search)
    known = known_settings(preset.config)
    for text in given:
        name, sign, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not sign or not values.strip():
            raise ValueError(f"--space is {text!r}, expected NAME=LOW..HIGH, NAME=A,B,C or NAME=VALUE")
        if name not in known:
            raise ValueError(f"--space has unknown setting {name!r}, known are: {', '.join(known)}")
        space[name] = parameter(name, values.strip(), known[name], space.get(name))
    check_space(space, preset.config)
    if all(isinstance(p, Choice) and len(p.values) == 1 for p in space.values()):
        raise ValueError("there is nothing to search; give ranges, as --space learning_rate=1e-4..1e-2:log")
    return space


def check_space(space: Mapping[str, Parameter], config: Any) -> None:
    """Check that every name is a setting, and that its values can be used with the others of the configuration.

    Raises:
        ValueError: names the parameter.
    """
    known = known_settings(config)
    for name, found in space.items():
        if name not in known:
            raise ValueError(f"the search space has unknown setting {name!r}, known are: {', '.join(known)}")
        _check_values(name, found, config)


def _check_values(name: str, found: Parameter, config: Any) -> None:
    """Check both ends and the middle of a range, or every choice."""
    try:
        for value in found.examples():
            with_settings(config, {name: value})
    except ValueError as error:
        raise ValueError(f"the search space has {name} {found}: {error}") from None


def parameter(name: str, text: str, hint: Any, declared: Parameter | None = None) -> Parameter:
    """The parameter that the right side of NAME=... describes.

    Args:
        hint: type of the setting.
        declared: what the preset declares for it; a range keeps its logarithm.

    Raises:
        ValueError: a text of another form, or values of another type.
    """
    kind, many = _kind(hint)
    try:
        if ".." in text:
            return _range(text, kind, many, getattr(declared, "log", False))
        return Choice(*(_value(part.strip(), kind, many) for part in text.split(",")))
    except ValueError as error:
        raise ValueError(f"--space {name}={text}: {error}") from None


def _kind(hint: Any) -> tuple[Any, bool]:
    """The type of one value of a setting, and whether it is a list of them."""
    if get_origin(hint) is tuple:
        return get_args(hint)[0], True
    others = [part for part in get_args(hint) if part is not NoneType]
    return (others[0] if len(others) == 1 else hint), False


def _range(text: str, kind: Any, many: bool, log: bool) -> Parameter:
    if kind not in (int, float) or many:
        raise ValueError("this setting has no range; give the values to choose from, as NAME=A,B,C")
    ends, _, word = text.partition(":")
    if word not in ("", "log"):
        raise ValueError(f"{word!r} follows the range, expected :log or nothing")
    low, _, high = ends.partition("..")
    log = log or word == "log"
    return (Whole if kind is int else Real)(_value(low, kind, False), _value(high, kind, False), log)


def _value(text: str, kind: Any, many: bool) -> Any:
    """A value as it is typed: a list of widths as 600x200, an empty one as none."""
    if many:
        return () if text == "none" else tuple(_value(part, kind, False) for part in text.split("x"))
    if kind is bool:
        if text not in ("yes", "no"):
            raise ValueError(f"{text!r} is given, expected yes or no")
        return text == "yes"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is given, expected {'a whole number' if kind is int else 'a number'}") from None
