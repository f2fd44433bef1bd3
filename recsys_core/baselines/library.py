"""The library `implicit` (extra `baselines`), which fits BPR and ItemKNN."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import scipy.sparse as sp

from recsys_core.baselines import INSTALL
from recsys_core.errors import UserError
from recsys_core.matrices import Csr

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def implicit(module: str, name: str) -> Any:
    """A module of the library.

    Args:
        name: the baseline that needs it, for the message.

    Raises:
        UserError: it is not installed; says the command that installs it.
    """
    try:
        with _threads_it_asks_for():
            return import_module(f"implicit.{module}")
    except ImportError as error:
        raise UserError(f"{name} needs the library implicit ({error}); install it with: {INSTALL}") from None


@contextlib.contextmanager
def _threads_it_asks_for() -> Iterator[None]:
    """Nothing that it warns of is of any use: it has threads of its own, and calls no BLAS in BPR and ItemKNN."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update({name: value or "1" for name, value in before.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def writable(matrix: Csr) -> sp.csr_matrix:
    """A copy in memory: the library refuses arrays that cannot be written, as those of an opened data set."""
    return matrix.to_scipy().copy()
