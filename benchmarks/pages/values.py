"""Values of records as text. The value's own shape says what stands in brackets behind it.

| shape | text |
|---|---|
| a number | 0.41 |
| a list of windows | median (lowest to highest) |
| mean, standard_error | mean ± standard error |
| value, low, high | value (low to high); an end that is not known is "?" |
| low, high | low to high |
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SPEC = re.compile(r"(?P<path>\S+)(?: (?P<form>[+,]*(\.\d+)?[fg%e]))?(?: x(?P<scale>[\d.e+-]+))?(?: (?P<part>middle))?")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How one figure is shown: "ndcg@100 .3f", "step ,.0f x1000", "ndcg@100 .3f middle" (without its interval)."""

    path: str
    """Name of a field; "a.b" is field b of the object a."""
    form: str = ""
    scale: float = 1.0
    middle: bool = False


def spec(text: str) -> Spec:
    """
    Raises:
        ValueError: the text is no specification.
    """
    found = SPEC.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no figure, expected FIELD [FORMAT] [xSCALE] [middle], as 'step ,.0f x1000'")
    scale = float(found["scale"] or 1)
    return Spec(path=found["path"], form=found["form"] or "", scale=scale, middle=bool(found["part"]))


def at(values: Mapping[str, Any], path: str) -> Any:
    """The value of a field, or of a field of an object; None where there is none."""
    if path in values:
        return values[path]
    first, dot, rest = path.partition(".")
    inner = values.get(first)
    return at(inner, rest) if dot and isinstance(inner, Mapping) else None


def rounded_form(form: str, decimals: int | None) -> str:
    """A format with at most so many decimals (of a percentage: two fewer); the format itself for None."""
    found = re.search(r"\.(\d+)([f%])", form)
    if decimals is None or not found:
        return form
    most = max(decimals - 2, 0) if found[2] == "%" else decimals
    return form.replace(found[0], f".{min(int(found[1]), most)}{found[2]}")


def _number(value: float | str | None, form: str, scale: float) -> str:
    if value is None:
        return "?"
    if isinstance(value, str | bool):
        return str(value)
    if value == 0 and form.endswith("e"):
        return "0"
    if not form:
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return f"{scale * value:{form}}"


def middle_of(value: Any) -> float | None:
    """The number that stands for a value: median, mean or value; None for text or a range."""
    if isinstance(value, list):
        return statistics.median(value) if value else None
    if isinstance(value, Mapping):
        return next((value[name] for name in ("mean", "value") if name in value), None)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def ends_of(value: Any) -> tuple[float, float] | None:
    """Lower and upper end of a value's interval; for a mean, one standard error below and above it."""
    if isinstance(value, list) and value:
        return min(value), max(value)
    if isinstance(value, Mapping) and "standard_error" in value:
        return value["mean"] - value["standard_error"], value["mean"] + value["standard_error"]
    if isinstance(value, Mapping) and value.get("low") is not None and value.get("high") is not None:
        return value["low"], value["high"]
    return None


def shown(value: Any, how: Spec, decimals: int | None = None) -> str:
    """A value as text; "" for None.

    Args:
        decimals: the most that its record holds.
    """
    form = rounded_form(how.form, decimals)
    if value is None or value == []:
        return ""
    middle = middle_of(value)
    if how.middle and middle is not None:
        return _number(middle, form, how.scale)
    if isinstance(value, list):
        ends = (min(value), max(value)) if len(value) > 1 else None
    elif isinstance(value, Mapping) and "standard_error" in value:
        return f"{_number(middle, form, how.scale)} ± {_number(value['standard_error'], form.lstrip('+'), how.scale)}"
    elif isinstance(value, Mapping):
        ends = (value.get("low"), value.get("high"))
    else:
        return _number(value, form, how.scale)
    interval = "" if ends is None else " to ".join(_number(end, form, how.scale) for end in ends)
    return (
        f"{_number(middle, form, how.scale)} ({interval})"
        if middle is not None and interval
        else (interval or _number(middle, form, how.scale))
    )
