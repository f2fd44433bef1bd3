"""Filters on the columns of the item table, as SQL conditions: "genre = 'Drama' and year > 1990".

sqlglot reads the text; this module turns the few kinds of nodes that a condition needs into calls of pyarrow.compute
and refuses all others. So there is no SELECT, no function, and nothing that could read a file: no SQL engine runs.
A column whose values are lists ("genre") fits if one of its values does. A missing value fits only "is null".

Shape legend: I items.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving.recommend.requests import RequestError, shorten

if TYPE_CHECKING:
    import pyarrow as pa

OWN = ("item_id", "title", "count")
"""Columns that the items of every export have."""
CACHED = 256
"""Filters whose result is kept."""
INSTALL = "where needs the package sqlglot; install it with: pip install sqlglot"
COMPARISONS = {
    "EQ": "equal",
    "NEQ": "not_equal",
    "GT": "greater",
    "GTE": "greater_equal",
    "LT": "less",
    "LTE": "less_equal",
}
"""sqlglot's node -> pyarrow's function."""
PAIR = {"this", "expression"}
ARGUMENTS: dict[str, set[str]] = {
    **{kind: PAIR for kind in (*COMPARISONS, "And", "Or", "Is")},
    **{kind: {*PAIR, "negate"} for kind in ("Like", "ILike")},
    **{kind: {"this"} for kind in ("Paren", "Not", "Neg", "Column", "Boolean")},
    "Between": {"this", "low", "high"},
    "In": {"this", "expressions"},
    "Literal": {"this", "is_string"},
    "Identifier": {"this", "quoted"},
    "Null": set(),
}
"""The nodes of a condition, and all that may be said in them: what is not known here must not be overlooked."""
MIRRORED = {"greater": "less", "greater_equal": "less_equal", "less": "greater", "less_equal": "greater_equal"}
EXPECTED = "expected comparisons of columns with values (=, <>, <, in, between, like, is null), and, or, not"

Mask = Any
"""[I] pyarrow array of bool, null where a value is missing."""


def _parsed(text: str) -> Any:
    """The tree of a condition.

    Raises:
        RequestError: the text is no condition, or sqlglot is not installed.
    """
    try:
        import sqlglot
    except ImportError:
        raise RequestError(INSTALL) from None
    try:
        tree = sqlglot.parse_one(text, into=sqlglot.exp.Condition)
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        raise RequestError(f"where is {shorten(text)!r}, {EXPECTED}") from None
    for node in tree.walk():
        said = {name for name, value in node.args.items() if value}
        if not said <= ARGUMENTS.get(type(node).__name__, set()):
            raise _refused(node)
    return tree


class ItemFilter:
    """Evaluates filters on an item table of I rows."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._names = {name.lower(): name for name in table.column_names}
        self.mask: Callable[[str], npt.NDArray[np.bool_]] = lru_cache(CACHED)(self._mask)
        """[I] the items that fit a filter; not to be written to. RequestError if it is no filter of these columns."""

    def _mask(self, text: str) -> npt.NDArray[np.bool_]:
        import pyarrow as pa

        try:
            fitting = self._condition(_parsed(text))
        except (pa.ArrowException, RecursionError, OverflowError) as error:
            raise RequestError(f"where is {shorten(text)!r}: {str(error).splitlines()[0][:100]}") from None
        found = np.asarray(fitting.fill_null(False).to_numpy(zero_copy_only=False), bool)
        found.flags.writeable = False
        return found

    def _condition(self, node: Any) -> Mask:
        """[I] whether a condition holds."""
        import pyarrow.compute as pc

        kind = type(node).__name__
        if kind == "Paren":
            return self._condition(node.this)
        if kind in ("And", "Or"):
            combine = pc.and_kleene if kind == "And" else pc.or_kleene
            return combine(self._condition(node.this), self._condition(node.expression))
        if kind == "Not":
            return pc.invert(self._condition(node.this))
        if kind == "Is" and type(node.expression).__name__ == "Null":
            return pc.is_null(self._column(node.this))
        if kind == "Column":
            return self._flag(node)
        if kind in COMPARISONS:
            return self._comparison(COMPARISONS[kind], node.this, node.expression)
        if kind == "Between":
            bounds = (("greater_equal", node.args["low"]), ("less_equal", node.args["high"]))
            low, high = (self._comparison(name, node.this, bound) for name, bound in bounds)
            return pc.and_kleene(low, high)
        if kind == "In" and node.expressions:
            found = [self._comparison("equal", node.this, value) for value in node.expressions]
            for other in found[1:]:
                found[0] = pc.or_kleene(found[0], other)
            return found[0]
        if kind in ("Like", "ILike"):
            pattern, column = _value(node.expression), self._column(node.this)
            if not isinstance(pattern, str):
                raise RequestError(f"where compares {node.this.name} with {node.expression}, expected text after like")
            fits = self._any(column, lambda values: pc.match_like(values, pattern, ignore_case=kind == "ILike"))
            return pc.invert(fits) if node.args.get("negate") else fits
        raise _refused(node)

    def _column(self, node: Any) -> Mask:
        """[I] a column."""
        if type(node).__name__ != "Column":
            raise _refused(node)
        name = node.name if node.name in self._table.column_names else self._names.get(node.name.lower())
        if name is None:
            known = ", ".join(self._table.column_names)
            more = "" if set(self._table.column_names) - set(OWN) else "; further ones come from --items-table FILE"
            raise RequestError(f"where names the column {shorten(node.name)!r}, the items have: {known}{more}")
        return self._table[name].combine_chunks()

    def _flag(self, node: Any) -> Mask:
        """[I] a column of true and false."""
        import pyarrow as pa

        column = self._column(node)
        if not pa.types.is_boolean(column.type):
            raise RequestError(f"where: {node.name} is no condition, {EXPECTED}")
        return column

    def _comparison(self, function: str, left: Any, right: Any) -> Mask:
        """[I] a column compared with a value, in either order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if type(left).__name__ != "Column":
            left, right, function = right, left, MIRRORED.get(function, function)
        column, value = self._column(left), _value(right)
        if value is None:
            raise RequestError(f"where compares {left.name} with null, expected: {left.name} is null, or is not null")
        kind = column.type.value_type if pa.types.is_list(column.type) else column.type
        fits = pa.types.is_string(kind) == isinstance(value, str) or pa.types.is_temporal(kind)
        if not fits or pa.types.is_boolean(kind) != isinstance(value, bool):
            raise RequestError(f"where compares {left.name}, a column of {kind}, with {shorten(str(right))}")
        scalar = pa.scalar(value).cast(kind) if pa.types.is_temporal(kind) else pa.scalar(value)
        if function == "not_equal" and pa.types.is_list(column.type):
            return pc.invert(self._any(column, lambda values: pc.equal(values, scalar)))
        return self._any(column, lambda values: pc.call_function(function, [values, scalar]))

    def _any(self, column: Mask, test: Callable[[Any], Mask]) -> Mask:
        """[I] whether a value passes a test; of a list, one of its values."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_list(column.type):
            return test(column)
        rows = pc.list_parent_indices(column).to_numpy()
        passed = np.asarray(test(pc.list_flatten(column)).fill_null(False).to_numpy(zero_copy_only=False), bool)
        found = np.zeros(len(column), bool)
        found[rows[passed]] = True
        return pa.array(found, mask=column.is_null().to_numpy(zero_copy_only=False))


def _value(node: Any) -> str | int | float | bool | None:
    """A literal.

    Raises:
        RequestError: the node is anything else.
    """
    kind = type(node).__name__
    if kind == "Literal" and node.is_string:
        return str(node.this)
    if kind == "Literal":
        return _number(str(node.this))
    if kind == "Neg":
        number = _value(node.this)
        if isinstance(number, int | float) and not isinstance(number, bool):
            return -number
    if kind == "Boolean":
        return bool(node.this)
    if kind == "Null":
        return None
    raise _refused(node)


def _number(text: str) -> int | float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise RequestError(f"where holds {shorten(text)!r}, expected a number") from None


def _refused(node: Any) -> RequestError:
    text = "" if node is None else str(node)
    return RequestError(f"where holds {shorten(text)!r}, {EXPECTED}")
