"""Command line: ``python -m recsys_core.baselines --data D --all``. TensorFlow is imported once the flags are read."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys_core.baselines import KNOWN, check_installed, check_names, missing_library
from recsys_core.cli import command, user_errors
from recsys_core.config import FINAL_FIT
from recsys_core.errors import UserError
from recsys_core.parser import CommandParser

PROGRAM = "python -m recsys_core.baselines"


def _parser() -> CommandParser:
    known = "\n".join(
        f"  {name:12}{k.about}{f' (library {k.library})' if k.library else ''}" for name, k in KNOWN.items()
    )
    parser = CommandParser(
        prog=PROGRAM,
        description="Fit baselines to a data set and compare them on its held-out users, in one table.",
        epilog=f"baselines:\n{known}\n\nexamples:\n  {PROGRAM} --data data/ml-1m --all\n"
        f"  {PROGRAM} --data data/ml-1m --names ease edlae --set edlae.dropout=0.33 --json table.json\n"
        f"  {PROGRAM} --data data/ml-1m --names ease edlae ials --tune --save models\n\n"
        "exit status: 0 done, 2 bad input, 130 Ctrl-C",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="PATH", help="prepared data set (python -m data_prep; required)"
    )
    parser.add_argument("--all", action="store_true", help="all baselines that are installed")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="these baselines (see below)")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME@K",
        help="as in training; the first one is compared (default: ndcg@100 recall@20 recall@50; hr@10, ndcg@10 and "
        "recall@10/all recall@50/all where the data set has candidates)",
    )
    parser.add_argument("--split", default="test", help="valid or test (default: %(default)s)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME.SETTING=VALUE", help="settings, as edlae.dropout=0.33"
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="choose the settings that are not given by the first metric on the validation users, from a short grid",
    )
    parser.add_argument(
        "--final-fit",
        action="store_true",
        help="fit to the validation items too, as published figures of leave-one-out are (held-out items only)",
    )
    parser.add_argument(
        "--reference", metavar="NAME", help="the baseline that others are compared with (default: ease, else the first)"
    )
    parser.add_argument("--seed", type=int, help="seed of ials and bpr (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="save each model in FOLDER/NAME")
    return parser


def _names(args: argparse.Namespace) -> tuple[str, ...]:
    """The baselines that are asked for."""
    if args.all == bool(args.names):
        raise UserError(f"give --all, or --names with some of: {', '.join(KNOWN)}")
    if not args.all:
        check_installed(args.names)
        return tuple(dict.fromkeys(args.names))
    lacking = {name: missing_library(name) for name in KNOWN}
    for message in filter(None, lacking.values()):
        print(f"left out: {message}", file=sys.stderr)
    return tuple(name for name, message in lacking.items() if not message)


def _settings(words: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Baseline -> setting -> value, of the words after --set."""
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        place, sign, text = word.partition("=")
        name, dot, setting = place.partition(".")
        if not (sign and dot and setting and text):
            raise UserError(f"--set is {word!r}, expected NAME.SETTING=VALUE, as edlae.dropout=0.33")
        check_names([name])
        if name not in names:
            raise UserError(f"--set is {word!r}, and {name} is not among the baselines: {', '.join(names)}")
        found.setdefault(name, {})[setting] = _value(text)
    return found


def _value(text: str) -> Any:
    """A number, where the text is one."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE) else text


def _reference(given: str | None, names: Sequence[str]) -> str:
    if given is None:
        return "ease" if "ease" in names else names[0]
    check_names([given])
    if given not in names:
        raise UserError(f"--reference is {given}, which is not among the baselines: {', '.join(names)}")
    return given


def _checked(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of the `TableRequest` that the flags ask for.

    Raises:
        ValueError: a flag that cannot be used.
    """
    names = _names(args)
    if args.split not in ("valid", "test"):
        raise UserError(f"unknown --split {args.split!r}, known are: valid, test")
    if args.seed is not None and args.seed < 0:
        raise UserError(f"--seed is {args.seed}, expected a whole number from 0")
    if args.final_fit and (args.tune or args.split == "valid"):
        instead = "--tune, and give what it chose by --set" if args.tune else "--split valid"
        raise UserError(f"--final-fit leaves no validation items to choose or measure by; leave out {instead}")
    if args.json is not None and not args.json.absolute().parent.is_dir():
        raise UserError(f"--json is {args.json}, and its folder does not exist")
    return {
        "names": names,
        "settings": _settings(args.set, names),
        "reference": _reference(args.reference, names),
        "metrics": tuple(args.metrics),
        "split": args.split,
        "seed": args.seed,
        "tune": args.tune,
        "save": args.save,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(argv)
    with command() as status:
        with user_errors():
            asked = _checked(args)
        print("starting TensorFlow ...", file=sys.stderr, flush=True)
        from recsys_core import baseline_table, devices
        from recsys_core.dataset import Dataset, verify_integrity
        from recsys_core.files import write_json
        from recsys_core.measuring.records import circumstances
        from recsys_core.world import World

        world = World()
        devices.configure(world)
        verify_integrity(args.data)
        data = Dataset.open(args.data).viewed(FINAL_FIT if args.final_fit else "")
        request = baseline_table.TableRequest(**asked)
        rows = baseline_table.measured(request, data)
        print(baseline_table.table(rows, request.reference))
        if args.json is not None:
            content = {**baseline_table.as_json(rows, request, data), "measured": circumstances()}
            world.run_on_rank0(lambda: write_json(args.json, content))
    return status.code


if __name__ == "__main__":
    sys.exit(main())
