"""Commands of records, read by the parsers of the programs themselves."""

from __future__ import annotations

import contextlib
import functools
import io
import shlex
from collections.abc import Callable, Sequence

from benchmarks import input as input_of_a_rank
from benchmarks import memory
from benchmarks.__main__ import COMMAND_LINE as BENCHMARKS
from benchmarks.reproduce import ncf_table
from data_prep import arguments as data_prep_arguments
from load_study.__main__ import COMMAND_LINE as LOAD_STUDY
from ncf_tf import config as ncf
from recsys_core import compare, flags
from recsys_core.baselines import __main__ as baselines
from recsys_core.tuning import request
from tests.conftest import ROOT
from tests.docs.flags import wrong_flags
from vaecf import config as vaecf

Parse = Callable[[Sequence[str]], object]


def _measurement(command_line: object) -> Parse:
    return lambda words: command_line.parser(words[0]).parse_args(words)  # type: ignore[attr-defined]


PARSERS: dict[str, Parse] = {
    "vaecf.train": functools.partial(flags.parse, vaecf.SPEC),
    "ncf_tf.train": functools.partial(flags.parse, ncf.SPEC),
    "vaecf.tune": functools.partial(request.parse, vaecf.SPEC),
    "benchmarks": _measurement(BENCHMARKS),
    "load_study": _measurement(LOAD_STUDY),
    "benchmarks.input": lambda words: input_of_a_rank.build_parser().parse_args(words),
    "benchmarks.memory": lambda words: memory.build_parser().parse_args(words),
    "benchmarks.reproduce.ncf_table": lambda words: ncf_table.build_parser().parse_args(words),
    "data_prep": lambda words: data_prep_arguments.build_parser().parse_args(words),
    "recsys_core.compare": lambda words: compare._parser().parse_args(words),
    "recsys_core.baselines": lambda words: baselines._checked(baselines._parser().parse_args(words)),
}
"""Module -> what reads its words."""


def words_of(command: str) -> list[str]:
    """The module and its words, without `horovodrun -np N` and `python -m`.

    Raises:
        ValueError: it is no `python -m` command.
    """
    words = shlex.split(command)
    if "-m" not in words or words[words.index("-m") - 1] != "python":
        raise ValueError(f"{command!r} is no command as 'python -m MODULE ...'")
    return words[words.index("-m") + 1 :]


@functools.cache
def problem(command: str) -> str:
    """Why a command is not taken; "" for one that is."""
    try:
        module, *words = words_of(command)
        if module.startswith("tests."):  # a script, which needs root and two hosts
            source = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text()
            return ", ".join(word for word in words if word.startswith("-") and f'"{word}"' not in source)
        if module not in PARSERS:
            return "; ".join(wrong_flags([module, *words]))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            PARSERS[module](words)
    except SystemExit:
        return said.getvalue().strip().splitlines()[-1]
    except (ValueError, OSError) as error:
        return str(error)
    return ""
