"""The text of a condition of `--gate` and `--target`: its parts, and the answer to one that the shell has cut.

Nothing here imports TensorFlow, so that a wrong condition is answered at once.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_FORM = re.compile(rf"(?P<metric>[^>:]*)(?P<sign>>=|>|:)\s*(?P<number>{_NUMBER})(?:\s*[*x]\s*(?P<baseline>[a-z]+))?\s*")
_FILE = re.compile(rf"=?{_NUMBER}(?:[*x][a-z]+)?")
"""Name of the file that the shell makes of an unquoted `>=0.4` or `>1.1*popularity`."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a condition."""

    metric: str
    number: float
    baseline: str | None


def split(text: str, flag: str = "--gate", folder: Path | None = None) -> Parts:
    """The parts of a condition, as ``ndcg@100>=0.42``, ``ndcg@100>1.1*popularity``, ``ndcg@100:0.42`` (at least) or
    ``ndcg@100:1.1xpopularity`` (above). The last two need no quotes in a shell.

    Args:
        flag: what the text was given with, for the message.
        folder: where the shell would have made a file (default: the current folder).

    Raises:
        ValueError: another form; where the shell took the rest of the text for a file, the file is named.
    """
    match = _FORM.fullmatch(text)
    if match and (match["baseline"] or match["sign"] != ">"):
        return Parts(metric=match["metric"], number=float(match["number"]), baseline=match["baseline"])
    expected = f"{flag} is {text!r}, expected METRIC>=NUMBER or METRIC>FACTOR*popularity"
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
