"""The flags of ``python -m data_prep``: common ones in ``--help``, all of them in ``--help-all``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.catalog import about
from data_prep.catalog.shapes import LIKE
from data_prep.read.asked import FORMATS
from data_prep.split.rules import CHOICES, LIANG2018_SEED, PROTOCOLS, SplitRules

USAGE = "python -m data_prep NAME (--raw PATH | --download) [--out DIR] [options]"
OWN = {
    "table": "your own: a row for each rating, click or purchase, in files of any format or a database",
    "he2017": "the files published with NCF: NAME.train.rating, .test.rating, .test.negative",
    "transcode": "your own train and test files, named by a feature_spec.yaml",
    "synthetic": "generated ratings: --like ml-1m, or --users, --items, --interactions",
}
DATA_SETS = "data sets:\n" + "\n".join(
    f"  {name:16} {about}"
    for name, about in {**OWN, **{name: source.about.split(";")[0] for name, source in SOURCES.items()}}.items()
)
EXAMPLES = """

examples:
  python -m data_prep ml-1m --download --out data/ml-1m
  python -m data_prep csv --raw clicks.csv --user-column user --item-column article --out data/clicks
  python -m data_prep csv --raw ratings.csv --titles movies.csv --protocol leave-one-out --out data/pairs
"""
MORE_EXAMPLES = """  python -m data_prep ml-20m --raw ml-20m/ --protocol liang2018 --out data/ml-20m-liang
  python -m data_prep he2017 --raw Data/ --out data/ncf-ml-1m
  python -m data_prep transcode --raw feature_spec.yaml --out data/mine
  python -m data_prep synthetic --like ml-20m --write-csv raw/ratings.csv
  mpirun -np 4 python -m data_prep netflix --raw netflix/ --out data/netflix
"""


class _HelpAll(argparse.Action):
    """Print the help with every flag and stop."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        build_parser(every_flag=True).print_help()
        parser.exit()


class _Flags:
    """Adds flags to a group; rare ones are listed only if all are asked for, and work always."""

    def __init__(self, parser: argparse.ArgumentParser, title: str, every_flag: bool) -> None:
        self._group, self._every_flag = parser.add_argument_group(title), every_flag

    def common(self, *names: str, **options: Any) -> None:
        self._group.add_argument(*names, **options)

    def rare(self, name: str, **options: Any) -> None:
        self._group.add_argument(name, **(options if self._every_flag else options | {"help": argparse.SUPPRESS}))


def build_parser(every_flag: bool = False) -> argparse.ArgumentParser:
    """The parser of the command.

    Args:
        every_flag: whether the help lists the rare flags too.
    """
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        usage=USAGE,
        description="Turn ratings or other interactions into a data set that the training commands read.",
        epilog=DATA_SETS + EXAMPLES + (MORE_EXAMPLES if every_flag else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="a data set, listed below")
    parser.add_argument("--help-all", nargs=0, action=_HelpAll, help="list every option, the rare ones too")
    _add_files(_Flags(parser, "files", every_flag))
    _add_columns(_Flags(parser, "columns of csv and parquet", every_flag))
    _add_rules(_Flags(parser, "filtering and splitting (defaults as in Liang et al. 2018)", every_flag))
    _add_synthetic(_Flags(parser, "synthetic", every_flag))
    return parser


def _add_files(files: _Flags) -> None:
    files.common("--raw", type=Path, metavar="PATH", help="file, folder, zip or tar with the original data")
    files.common("--download", action="store_true", help="fetch it (MovieLens only); kept beside --out")
    files.common("--out", type=Path, metavar="DIR", help="data set folder to write (default: data/NAME)")
    files.common(
        "--titles", type=Path, metavar="FILE", help="item titles, for any NAME: CSV with id and title first, movies.dat"
    )
    files.common("--overwrite", action="store_true", help="replace another data set in --out")


def _add_columns(columns: _Flags) -> None:
    columns.common("--user-column", default="userId", metavar="NAME", help="(default: %(default)s)")
    columns.common("--item-column", default="movieId", metavar="NAME", help="(default: %(default)s)")
    columns.common(
        "--rating-column", metavar="NAME", help="(default: rating if there is one, else every row is positive)"
    )
    columns.common(
        "--time-column",
        default="",
        metavar="NAME",
        help="orders leave-one-out and repeated pairs (default: timestamp if there is one)",
    )
    columns.common("--delimiter", default=",", metavar="CHAR", help="of csv (default: %(default)s)")


def _add_rules(rules: _Flags) -> None:
    rules.common(
        "--threshold",
        type=float,
        metavar="RATING",
        help="positive if rating > this (default: 3.5; leave-one-out: 0, every rating)",
    )
    rules.common(
        "--min-user-items", type=int, default=5, metavar="N", help="drop users with fewer items (default: %(default)s)"
    )
    rules.common(
        "--min-item-users", type=int, default=0, metavar="N", help="drop items with fewer users (default: %(default)s)"
    )
    rules.common(
        "--protocol",
        default="default",
        help=f"{', '.join(PROTOCOLS)}: hold out users (drawn anew, or the published split), or for NCF each user's "
        "latest item",
    )
    rules.common(
        "--held-out-users",
        type=float,
        metavar="N",
        help="for validation, and as many for test: a number, or a share below 1 (default: 10000 for ml-20m, 40000 "
        "for netflix, else 0.1)",
    )
    rules.rare(
        "--fold-out-share",
        type=float,
        default=0.2,
        metavar="S",
        help="share of a held-out user's items to be found (default: %(default)s)",
    )
    rules.rare(
        "--negatives",
        type=int,
        default=99,
        metavar="N",
        help="leave-one-out: sampled items besides each held-out one (default: %(default)s)",
    )
    rules.rare(
        "--candidates",
        default="clean",
        help="how they are sampled: clean (distinct items the user never had) or mlperf (as MLPerf drew them) "
        "(default: %(default)s)",
    )
    rules.rare("--seed", type=int, default=LIANG2018_SEED, help="root seed of the split (default: %(default)s)")


def _add_synthetic(drawn: _Flags) -> None:
    drawn.rare("--like", metavar="NAME", help=f"sizes of: {', '.join(LIKE)}")
    drawn.rare("--users", type=int, metavar="N", help="number of users")
    drawn.rare("--items", type=int, metavar="N", help="number of items")
    drawn.rare("--interactions", type=int, metavar="N", help="number of rows")
    drawn.rare("--no-ratings", action="store_true", help="every row is positive")
    drawn.rare("--write-csv", type=Path, metavar="FILE", help="write the raw rows there and prepare nothing")
