"""The flags of ``python -m data_prep``: common ones in ``--help``, all of them in ``--help-all``."""

from __future__ import annotations

import argparse
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.catalog import entries
from data_prep.catalog.shapes import LIKE
from data_prep.read.asked import FORMATS
from data_prep.split.rules import CHOICES, LIANG2018_SEED, PROTOCOLS, SplitRules

USAGE = "python -m data_prep NAME (--raw PATH | --download) [--out DIR] [options]"
OWN = {
    "table": "your own: a row for each rating or purchase, in files or a database",
    "he2017": "files published with NCF: NAME.train.rating, .test.rating, ...",
    "transcode": "your own train and test files, named by a feature_spec.yaml",
    "synthetic": "generated: --like ml-1m, or --users, --items, --interactions",
}
EXAMPLES = """

examples:
  python -m data_prep ml-1m --download --out data/ml-1m
  python -m data_prep table --raw 'orders/*.csv.gz' --out data/orders
  python -m data_prep table --raw clicks/ --positive-events buy --out data/buys
"""
MORE_EXAMPLES = """  python -m data_prep table --raw ratings.csv --protocol time --out data/by-time
  python -m data_prep table --raw ratings.csv --protocol leave-one-out
  python -m data_prep table --raw ratings.csv --titles movies.csv
  python -m data_prep table --train train.txt --test test.txt --protocol given
  python -m data_prep table --database sqlite:///shop.db \\
      --sql "SELECT customer, sku, bought_at FROM orders"
  python -m data_prep mine.yaml --raw mine/ --out data/mine
  python -m data_prep ml-20m --raw ml-20m/ --protocol liang2018 --out data/liang
  python -m data_prep he2017 --raw Data/ --out data/ncf-ml-1m
  python -m data_prep transcode --raw feature_spec.yaml --out data/mine
  python -m data_prep synthetic --like ml-20m --write-csv raw/ratings.csv
  mpirun -np 4 python -m data_prep netflix --raw netflix/ --memory 4GiB
  python -m data_prep describe data/ml-1m --picture ml-1m.png
"""


def _data_sets() -> str:
    """What NAME can be: forms of one's own data, then the known data sets by name."""
    own = "\n".join(f"  {name:10} {what}" for name, what in OWN.items())
    known = textwrap.fill(", ".join(entries.names()), 76, initial_indent="  ", subsequent_indent="  ")
    return (
        f"data sets:\n{own}\n  FILE.yaml  your own, described once (docs/known-data-sets.md)\nknown data sets:\n{known}"
    )


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
        description="Turn ratings or other interactions into a data set that training reads.",
        epilog=_data_sets() + EXAMPLES + (MORE_EXAMPLES if every_flag else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="a data set, listed below")
    parser.add_argument("--help-all", nargs=0, action=_HelpAll, help="list every option, the rare ones too")
    _add_files(_Flags(parser, "files", every_flag))
    _add_columns(_Flags(parser, "columns of table (found by their names and shown)", every_flag))
    _add_rules(_Flags(parser, "filtering and splitting (defaults as in Liang et al. 2018)", every_flag))
    _add_synthetic(_Flags(parser, "synthetic", every_flag))
    return parser


def size(text: str) -> int:
    """Bytes of "4GiB", "512 MB" or "3g"."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text.lower())
    if found is None or not found[2]:
        raise argparse.ArgumentTypeError(f"{text!r} is no size, expected a number and a unit, as 4GiB or 512MiB")
    power = "kmgt".index(found[2]) + 1
    return int(float(found[1]) * (1000 if not found[3] and "b" in text.lower() else 1024) ** power)


def weights(text: str) -> dict[str, float]:
    """Weights of events, as "view=1,buy=5"."""
    try:
        pairs = [pair.rsplit("=", 1) for pair in text.split(",")]
        found = [(name.strip(), float(weight)) for name, weight in pairs]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of events and weights, as view=1,buy=5") from None
    for name, weight in found:
        if not math.isfinite(weight):
            raise argparse.ArgumentTypeError(f"the weight of {name!r} is {weight}, expected a number")
    if len(dict(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} has an event twice, every event has one weight")
    return dict(found)


def path(text: str) -> Path:
    """A path that is not empty, which would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def _add_files(files: _Flags) -> None:
    files.common(
        "--raw",
        nargs="+",
        default=[],
        metavar="PATH",
        help="files, folders, globs, archives or addresses (s3://, http://)",
    )
    files.common("--download", action="store_true", help="fetch a known data set; it is kept beside --out")
    files.common(
        "--database", default="", metavar="URL", help="read from a database: postgresql://... or sqlite:///FILE"
    )
    files.common("--sql", default="", metavar="QUERY", help="the SELECT whose rows are read, or the name of a table")
    for part in ("train", "valid", "test"):
        files.rare(f"--{part}", nargs="+", metavar="PATH", help=f"protocol given: the files of the {part} part")
    files.common("--out", type=path, metavar="DIR", help="data set folder to write (default: data/NAME)")
    files.common(
        "--titles", type=path, metavar="FILE", help="item titles, for any NAME: CSV with id and title first, movies.dat"
    )
    files.common("--overwrite", action="store_true", help="replace another data set in --out")
    files.rare(
        "--memory",
        type=size,
        metavar="SIZE",
        help="what does not fit into so much memory is sorted on disk, as 4GiB (default: half of what is free)",
    )


def _add_columns(columns: _Flags) -> None:
    columns.common("--user-column", default="", metavar="NAME", help="(default: by its name, as userId or customer)")
    columns.common("--item-column", default="", metavar="NAME", help="(default: by its name, as movieId or sku)")
    columns.common(
        "--rating-column",
        default="",
        metavar="NAME",
        help="ratings, labels or counts (default: by its name; none: not used)",
    )
    columns.common("--time-column", default="", metavar="NAME", help="times (default: by its name; none: not used)")
    columns.rare("--event-column", default="", metavar="NAME", help="names of events (default: by its name)")
    columns.rare("--positive-events", default="", metavar="LIST", help="events that count, as buy,add")
    columns.rare(
        "--event-weights",
        type=weights,
        default={},
        metavar="LIST",
        help="weights that add up for a pair, as view=1,buy=5",
    )
    columns.rare("--format", default="", help=f"{', '.join(FORMATS)} (default: by name and contents)")
    columns.common("--delimiter", default="", metavar="TEXT", help="of csv (default: found by itself)")
    columns.rare("--header", default="", metavar="LIST", help="names of the columns of files without a header line")
    columns.rare("--encoding", default="", metavar="NAME", help="of text files (default: utf-8)")


def _add_rules(rules: _Flags) -> None:
    rules.common(
        "--threshold",
        type=float,
        metavar="VALUE",
        help="positive if rating > this (default: 3.5; leave-one-out: every rating; others than ratings: 0)",
    )
    rules.common("--min-user-items", type=int, metavar="N", help="drop users with fewer items (default: 5)")
    rules.common("--min-item-users", type=int, metavar="N", help="drop items with fewer users (default: 0)")
    rules.rare(
        "--k-core",
        type=int,
        default=0,
        metavar="K",
        help="drop both with fewer than K, again and again, until none has",
    )
    rules.rare("--max-user-items", type=int, default=0, metavar="N", help="keep a user's latest N items (default: all)")
    rules.common(
        "--protocol",
        default="",
        help=f"{', '.join(PROTOCOLS)}: what is held out (docs/data.md); default: users, drawn by --seed",
    )
    rules.common(
        "--held-out-users",
        type=float,
        metavar="N",
        help="for validation, and as many for test: a number, or a share below 1 (default: 10000 for ml-20m, 40000 "
        "for netflix, else 0.1)",
    )
    _add_rules_of_protocols(rules)


def _add_rules_of_protocols(rules: _Flags) -> None:
    default = SplitRules()
    rules.rare(
        "--fold-out-share",
        type=float,
        default=default.fold_out_share,
        metavar="S",
        help="share of a held-out user's items to be found (default: %(default)s)",
    )
    rules.rare(
        "--negatives",
        type=int,
        default=default.negatives,
        metavar="N",
        help="leave-one-out: sampled items besides each held-out one (default: %(default)s)",
    )
    rules.rare(
        "--candidates",
        default=default.candidates,
        help="how they are sampled: clean (distinct items the user never had) or mlperf (as MLPerf drew them) "
        "(default: %(default)s)",
    )
    rules.rare("--validation-from", default="", metavar="TIME", help="time: when validation begins, as 2024-01-31")
    rules.rare("--test-from", default="", metavar="TIME", help="time: when the test begins, as 2024-02-29T12:00:00Z")
    rules.rare(
        "--held-out-share",
        type=float,
        metavar="S",
        help="time: share of all interactions for the test (default: 0.1); per-user: of each user's (default: 0.2)",
    )
    rules.rare(
        "--validation-share",
        type=float,
        default=default.validation_share,
        metavar="S",
        help="time, per-user, given without --valid: share for validation (default: %(default)s)",
    )
    rules.rare(
        "--choice", default=default.choice, help=f"per-user: {' or '.join(CHOICES)} interactions (default: %(default)s)"
    )
    rules.rare("--seed", type=int, default=LIANG2018_SEED, help="root seed of the split (default: %(default)s)")


def _add_synthetic(drawn: _Flags) -> None:
    drawn.rare("--like", metavar="NAME", help=f"sizes of: {', '.join(LIKE)}")
    drawn.rare("--users", type=int, metavar="N", help="number of users")
    drawn.rare("--items", type=int, metavar="N", help="number of items")
    drawn.rare("--interactions", type=int, metavar="N", help="number of rows")
    drawn.rare("--no-ratings", action="store_true", help="every row is positive")
    drawn.rare("--write-csv", type=path, metavar="FILE", help="write the raw rows there and prepare nothing")
