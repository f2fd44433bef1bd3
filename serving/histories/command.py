"""Fill, change and read a store of the items that users have.

A store is sqlite:///FILE, postgresql://USER@HOST/NAME (password in PGPASSWORD) or redis://HOST/0 (in REDISCLI_AUTH).
`load` can be repeated: it adds what is not there yet.

python -m serving histories load --data data/ml-1m --store sqlite:///histories.db
python -m serving histories add --store sqlite:///histories.db --user 42 --items 318,527
python -m serving histories show --store sqlite:///histories.db --user 42
python -m serving histories forget --store sqlite:///histories.db --user 42
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from serving.command_help import CommandParser
from serving.histories.events import UNKNOWN_TIME, Event
from serving.histories.store import HistoryStore, open_store
from serving.ids import Id, IdType, IdTypes

STORE_HELP = "sqlite:///FILE, postgresql://USER@HOST/NAME or redis://HOST/0"
UNKNOWN_USER = 1
LOAD = """Load the users of a prepared data set into a store, with all items that they have. It can be repeated.

python -m serving histories load --data data/ml-1m --store sqlite:///histories.db
"""
OF_A_USER = {
    "add": (
        "append events: a user took items",
        """Append events to a store: a user took items. They count in the next recommendation.

python -m serving histories add --store sqlite:///histories.db --user 42 --items 318,527
""",
    ),
    "show": (
        "print the items of a user, the latest last",
        """Print the items of a user of a store, the latest last. The status is 1 if the user is not known.

python -m serving histories show --store sqlite:///histories.db --user 42
""",
    ),
    "forget": (
        "delete all that is known of a user",
        """Delete all that a store knows of a user. The status is 1 if it knew nothing.

python -m serving histories forget --store sqlite:///histories.db --user 42
""",
    ),
}
"""Action on one user -> its line in the help, and its own help."""
BLOCK = 1024
"""Users of a data set that are loaded at a time."""


def add_arguments(parser: CommandParser) -> None:
    actions = parser.add_subparsers(dest="histories_action", required=True)
    load = actions.add_parser("load", help="load the users of a prepared data set, with all items that they have")
    load.explain(LOAD)
    load.add_argument("--data", metavar="D", required=True, help="the data set, or an export that holds its users")
    load.add_argument("--store", metavar="ADDRESS", required=True, help=f"{STORE_HELP}; made if it is not there")
    load.add_rare(
        "--view", default="", choices=("", "final-fit", "all-users"), help="view that the model was trained on"
    )
    for name, (text, about) in OF_A_USER.items():
        action = actions.add_parser(name, help=text)
        action.explain(about)
        action.add_argument("--store", metavar="ADDRESS", required=True, help=STORE_HELP)
        action.add_argument("--user", metavar="ID", required=True, help="the user")
        if name == "add":
            action.add_argument("--items", metavar="ID", nargs="+", required=True, help="items, in order")
            action.add_argument("--time", type=int, help="whole seconds since 1970 (default: now)")
            action.add_rare("--text-ids", action="store_true", help="the ids of a new store are text")
        if name == "show":
            action.add_argument("--json", action="store_true", help="print one line of JSON")


def parse_id(text: str, id_type: IdType, flag: str) -> Id:
    """An id of the command line.

    Raises:
        ValueError: the ids are whole numbers, and it is none.
    """
    if id_type is str:
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{flag} is {text[:60]!r}, expected a whole number as the other ids of this store") from None


def _events(source: HistoryStore, users: list[Id]) -> Iterator[Event]:
    for user, items in zip(users, source.histories(users), strict=True):
        yield from (Event(user, item, UNKNOWN_TIME) for item in items or ())


def load(source: HistoryStore, store: HistoryStore, total: int | None = None) -> tuple[int, int]:
    """Copy all users of a data set or an export; returns the numbers of users and of events that were new.

    Args:
        total: number of users, for the progress bar.
    """
    from tqdm import tqdm

    users = events = 0
    with tqdm(total=total, unit=" users", disable=not sys.stderr.isatty(), leave=False) as bar:
        for block in source.users(BLOCK):
            events += store.append(_events(source, block))
            users += len(block)
            bar.update(len(block))
    return users, events


def load_rows(source: HistoryStore, store: HistoryStore) -> None:
    """Copy the rows of the training users, by which NCF knows its users, if the source has them."""
    from serving.histories.dataset import DatasetStore

    if isinstance(source, DatasetStore):
        digest, count = source.data.user_digest, source.data.n_users
        for start in range(0, count, BLOCK):
            store.append_rows(source.user_ids[start : min(start + BLOCK, count)].tolist(), start, digest)


def _load(args: argparse.Namespace) -> int:
    if not Path(args.data).is_dir():
        raise ValueError(f"--data {args.data} is no folder, expected a prepared data set or an export with its users")
    source = open_store(args.data, view=args.view)
    store = open_store(args.store, create=True, id_types=source.id_types)
    _check_types(source, store)
    total = len(source.user_ids) if hasattr(source, "user_ids") else None
    users, events = load(source, store, total)
    load_rows(source, store)
    print(f"{store.address}: {users:,} users read, {events:,} events were new")
    return 0


def _check_types(source: HistoryStore, store: HistoryStore) -> None:
    """Raise ValueError if the ids have another type than those in the store."""
    new, old = source.id_types, store.id_types
    assert new is not None, "a data set has ids"
    for name in ("user", "item"):
        if old is not None and getattr(new, name) is not getattr(old, name):
            kinds = {int: "whole numbers", str: "text"}
            raise ValueError(
                f"the {name} ids of {source.address} are {kinds[getattr(new, name)]}, those of {store.address} are "
                f"{kinds[getattr(old, name)]}; take another store"
            )


def _add(args: argparse.Namespace) -> int:
    kind: IdType = str if args.text_ids else int
    store = open_store(args.store, create=True, id_types=IdTypes(user=kind, item=kind))
    types = store.id_types
    assert types is not None, "a new store has the types that were given"
    user = parse_id(args.user, types.user, "--user")
    items = [part.strip() for value in args.items for part in value.split(",") if part.strip()]
    events = [Event(user, parse_id(item, types.item, "--items"), args.time) for item in items]
    print(f"{store.append(events):,} of {len(events):,} events were new")
    return 0


def _user(args: argparse.Namespace, store: HistoryStore) -> Id:
    return parse_id(args.user, (store.id_types or IdTypes()).user, "--user")


def _show(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    user = _user(args, store)
    (items,) = store.histories([user])
    if items is None:
        print(f"user {user} is not known", file=sys.stderr)
        return UNKNOWN_USER
    if args.json:
        print(json.dumps({"user": user, "items": items}, ensure_ascii=False))
    else:
        print("\n".join(map(str, items)))
    return 0


def _forget(args: argparse.Namespace) -> int:
    store = open_store(args.store)
    user = _user(args, store)
    known = store.forget([user])
    print(f"user {user}: {'all that was known is deleted' if known else 'nothing was known'}")
    return 0 if known else UNKNOWN_USER


def main(args: argparse.Namespace) -> int:
    """0 done, 1 the user is not known."""
    return {"load": _load, "add": _add, "show": _show, "forget": _forget}[args.histories_action](args)
