"""Baselines: recommenders with few settings, which other models are compared with. Each is a `Recommender`.

from recsys_core.baselines import Ease, Edlae, Ials

Importing this package does not import TensorFlow; taking a class from it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_core.baselines.base import Baseline
    from recsys_core.baselines.bpr import Bpr
    from recsys_core.baselines.ease import Ease
    from recsys_core.baselines.edlae import Edlae
    from recsys_core.baselines.ials import Ials
    from recsys_core.baselines.itemknn import ItemKnn
    from recsys_core.baselines.popularity import Popularity

__all__ = [
    "KNOWN",
    "Bpr",
    "Ease",
    "Edlae",
    "Ials",
    "ItemKnn",
    "Popularity",
    "baseline",
    "check_installed",
    "check_names",
]
INSTALL = 'pip install "implicit==0.7.3"'
"""The command that installs the library of `setup.cfg`'s extra `baselines`."""


@dataclass(frozen=True)
class Known:
    """Where the class of a baseline is, and what it is."""

    module: str
    class_name: str
    about: str
    library: str = ""
    """The library that fits it, which is installed by an extra; "" for none."""


KNOWN: Mapping[str, Known] = {
    "popularity": Known("popularity", "Popularity", "the items that most training users have"),
    "ease": Known("ease", "Ease", "EASE, a linear model of items in closed form"),
    "edlae": Known("edlae", "Edlae", "EDLAE, EASE trained to restore items that were dropped out"),
    "ials": Known("ials", "Ials", "matrix factorisation by alternating least squares"),
    "bpr": Known("bpr", "Bpr", "matrix factorisation by pairwise ranking", "implicit"),
    "itemknn": Known("itemknn", "ItemKnn", "the nearest neighbours of each item", "implicit"),
}
"""Name -> baseline, in the order of tables."""


def check_names(names: Iterable[str]) -> None:
    """Refuse names of no baseline.

    Raises:
        ValueError: an unknown name; the known ones are listed.
    """
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"unknown baseline {name!r}, known are: {', '.join(KNOWN)}")


def missing_library(name: str) -> str:
    """A line about the library that a known baseline needs, with the command that installs it; "" if nothing lacks."""
    library = KNOWN[name].library
    if not library or find_spec(library) is not None:
        return ""
    return f"{name} needs the library {library}, which is not installed; install it with: {INSTALL}"


def check_installed(names: Iterable[str]) -> None:
    """Refuse baselines whose library is not installed.

    Raises:
        ValueError: an unknown name, or a missing library; says the command that installs it.
    """
    check_names(names := tuple(names))
    for name in names:
        if lacking := missing_library(name):
            raise ValueError(lacking)


def baseline(name: str) -> type[Baseline]:
    """The class of a baseline; imports its module, and TensorFlow with it.

    Raises:
        ValueError: an unknown name; the known ones are listed.
    """
    check_names([name])
    known = KNOWN[name]
    return getattr(import_module(f"recsys_core.baselines.{known.module}"), known.class_name)  # type: ignore[no-any-return]


def __getattr__(name: str) -> Any:
    for key, known in KNOWN.items():
        if known.class_name == name:
            return baseline(key)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
