"""The text of a condition of `--gate` and `--target`: its parts, and the answer to one that the shell has cut.

Nothing here imports TensorFlow, so that a wrong condition is answered at once.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NAME = r"[a-z][a-z0-9]*"
_WANTED = rf"(?:(?P<factor>{_NUMBER})\s*[*x]\s*)?(?P<baseline>{_NAME})(?:\s*(?P<sign>[+-])\s*(?P<margin>{_NUMBER}))?"
_FORM = re.compile(rf"(?P<metric>[^>:]*)(?P<relation>>=|>|:)\s*(?:(?P<number>{_NUMBER})|{_WANTED})\s*")
_FILE = re.compile(rf"=?(?:{_NUMBER}|(?:{_NUMBER}[*x])?{_NAME}(?:[+-]{_NUMBER})?)")
"""Name of the file that the shell makes of an unquoted `>=0.4`, `>1.1*popularity` or `>=ease-0.002`."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a condition."""

    metric: str
    number: float
    """The least value, or the factor of the baseline's value."""
    baseline: str | None
    margin: float = 0.0
    """Added to the baseline's value times the factor; below 0 where the model may be worse by so much."""


def split(text: str, flag: str = "--gate", folder: Path | None = None) -> Parts:
    """The parts of a condition.

    In quotes: ``ndcg@100>=0.42``, ``ndcg@100>popularity``, ``ndcg@100>1.1*popularity``, ``ndcg@100>=ease-0.002``.
    Without quotes, because a shell leaves them alone: ``ndcg@100:0.42`` (at least), and for baselines (above)
    ``ndcg@100:popularity``, ``ndcg@100:1.1xpopularity``, ``ndcg@100:ease-0.002``.

    Args:
        flag: what the text was given with, for the message.
        folder: where the shell would have made a file (default: the current folder).

    Raises:
        ValueError: another form; where the shell took the rest of the text for a file, the file is named.
    """
    match = _FORM.fullmatch(text)
    if match and (match["baseline"] or match["relation"] != ">"):
        margin = float(match["margin"] or 0) * (-1 if match["sign"] == "-" else 1)
        number = float(match["number"] or match["factor"] or 1)
        return Parts(metric=match["metric"], number=number, baseline=match["baseline"], margin=margin)
    expected = (
        f"{flag} is {text!r}, expected METRIC>=NUMBER or METRIC>FACTOR*popularity (another baseline, FACTOR* left out, "
        "or a margin after it, as ease-0.002)"
    )
    if any(sign in text for sign in "><:"):
        raise ValueError(f"{expected}, as ndcg@100>=0.42, in quotes; without quotes METRIC:NUMBER, as ndcg@100:0.42")
    made = _file_of_shell(folder or Path())
    rest = made.name if made else ">=0.42"
    whole = f"{text}>{rest.removeprefix('>')}"
    plain = f"{text}:{rest.lstrip('>=').replace('*', 'x')}"
    fault = "the shell takes an unquoted > for a file"
    if made:
        fault += f", and made {made.name!r} here (remove it: rm {shlex.quote(f'./{made.name}')})"
    raise ValueError(f'{expected}. Quote it, {flag} "{whole}", or write {flag} {plain}: {fault}')


def _file_of_shell(folder: Path) -> Path | None:
    """The newest file whose name is the end of a condition. It is empty, as the shell made it: no other is named."""
    try:
        named = [path for path in folder.iterdir() if _FILE.fullmatch(path.name) and path.is_file()]
        found = [path for path in named if not path.stat().st_size]
        return max(found, key=lambda path: path.stat().st_mtime) if found else None
    except OSError:
        return None
