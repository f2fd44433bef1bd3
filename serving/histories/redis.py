"""Histories in Redis: a sorted set for each user. A password may be in REDISCLI_AUTH, as redis-cli reads it.

PREFIX:types          hash: user_type, item_type
PREFIX:users          sorted set of all users, for `users`
PREFIX:history:USER   sorted set of the items; the score holds the time and, within a second, the order of arrival
PREFIX:rows:DIGEST    hash: user -> row in the training matrix;  PREFIX:row_sets   set of the digests
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from serving.histories.events import (
    RETRY_AFTER_S,
    Event,
    StoreUnavailableError,
    in_blocks,
    no_rows,
    of_type,
    placed,
    types_of,
)
from serving.ids import Id, IdType, IdTypes, type_name, type_named

T = TypeVar("T")
MISSING = "Redis needs the package redis, which is not installed: pip install redis"
PREFIX = "recsys"
BLOCK = 10_000
"""Events of a transaction of `append`."""
CONNECT_S, ANSWER_S = 5.0, 10.0
# A score is time * 2**20 + place among the events of that second: below 2**53, so a float64 holds it.
APPEND = """
local written = 0
for k = 2, #ARGV, 2 do
    local item, time = ARGV[k], tonumber(ARGV[k + 1])
    local base, stored = time * 1048576, redis.call('ZSCORE', KEYS[1], item)
    if not stored or (time > 0 and math.floor(tonumber(stored) / 1048576) <= time) then
        local last = redis.call('ZREVRANGEBYSCORE', KEYS[1], string.format('%.0f', base + 1048575),
            string.format('%.0f', base), 'WITHSCORES', 'LIMIT', 0, 1)
        local score = last[2] and tonumber(last[2]) + 1 or base
        redis.call('ZADD', KEYS[1], string.format('%.0f', score), item)
        written = written + 1
    end
end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return written
"""


def shown_address(address: str) -> str:
    """The address without a password.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        parts = urlsplit(address)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise ValueError(f"--store: the address of Redis cannot be read ({error})") from None
    query = "&".join(o for o in parts.query.split("&") if o and not o.startswith("password="))
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, query, ""))


def _bytes(value: Id) -> bytes:
    return str(value).encode()


def _ids(values: Iterable[bytes], id_type: IdType) -> list[Id]:
    return [int(v) for v in values] if id_type is int else [v.decode() for v in values]


class RedisStore:
    """One database of a Redis server."""

    read_only = False

    def __init__(self, address: str, *, id_types: IdTypes | None = None) -> None:
        """Connects with the first call.

        Args:
            id_types: of a new store; None for those of its first event.

        Raises:
            ValueError: the address cannot be read, or the package is missing.
        """
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ValueError(MISSING) from None
        self.address = shown_address(address)
        self._errors = redis.RedisError
        password = {} if urlsplit(address).password else {"password": os.environ.get("REDISCLI_AUTH")}
        try:
            self._redis = redis.Redis.from_url(
                address,
                **password,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise ValueError(f"--store: the address of Redis cannot be read ({error})") from None
        self._append = self._redis.register_script(APPEND)
        self._new_types = id_types
        self._types: IdTypes | None = None
        self._lock = threading.RLock()
        self._down_until = 0.0

    def check(self) -> None:
        """Raise `StoreUnavailableError` if the server does not answer."""
        self._run(lambda: self._redis.ping())

    def _run(self, work: Callable[[], T]) -> T:
        """Do something with the server; the package connects again by itself."""
        with self._lock:
            if time.monotonic() < self._down_until:
                raise StoreUnavailableError(f"the store {self.address} does not answer")
            try:
                return work()
            except (self._errors, OSError) as error:
                self._down_until = time.monotonic() + RETRY_AFTER_S
                reason = " ".join(str(error).split())
                raise StoreUnavailableError(f"the store {self.address} does not answer: {reason}") from None

    def _key(self, *parts: str) -> str:
        return ":".join((PREFIX, *parts))

    @property
    def id_types(self) -> IdTypes | None:
        return self._run(self._stored_types) or self._new_types

    def _stored_types(self) -> IdTypes | None:
        if self._types is None:
            found: Any = self._redis.hgetall(self._key("types"))
            if b"user_type" in found and b"item_type" in found:
                names = (found[b"user_type"].decode(), found[b"item_type"].decode())
                self._types = IdTypes(user=type_named(names[0]), item=type_named(names[1]))
        return self._types

    def _settle_types(self, types: IdTypes) -> IdTypes:
        """The types of the store; those that are given if it has none yet."""
        if (stored := self._stored_types()) is not None:
            return stored
        self._redis.hsetnx(self._key("types"), "user_type", type_name(types.user))
        self._redis.hsetnx(self._key("types"), "item_type", type_name(types.item))
        settled = self._stored_types()
        assert settled is not None, "the types were written"
        return settled

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        def work() -> dict[Id, tuple[Id, ...]]:
            types = self._stored_types()
            if types is None:
                return {}
            asked = list(dict.fromkeys(of_type(users, types.user)))
            with self._redis.pipeline(transaction=False) as pipeline:
                for user in asked:
                    pipeline.zrange(self._key("history", str(user)), 0, -1)
                answers = pipeline.execute()
            return {user: tuple(_ids(found, types.item)) for user, found in zip(asked, answers, strict=True) if found}

        found = self._run(work)
        return [found.get(user) for user in users]

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        def work() -> dict[Id, int] | None:
            types, key = self._stored_types(), self._key("rows", training_users)
            if types is None or not self._redis.exists(key):
                return None
            asked = of_type(users, types.user)
            answers: Any = self._redis.hmget(key, [_bytes(u) for u in asked]) if asked else []
            return {user: int(row) for user, row in zip(asked, answers, strict=True) if row is not None}

        found = self._run(work)
        if found is None:
            raise no_rows(self.address)
        return [found.get(user) for user in users]

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        after = b"-"
        while found := self._run(partial(self._users_after, after, block)):
            types = self._run(self._stored_types)
            assert types is not None, "a store with users has types"
            yield _ids(found, types.user)
            after = b"(" + found[-1]

    def _users_after(self, after: bytes, block: int) -> list[bytes]:
        return list(self._redis.zrangebylex(self._key("users"), after, b"+", start=0, num=block))

    def append(self, events: Iterable[Event]) -> int:
        return sum(self.append_groups([block])[0] for block in in_blocks(events, BLOCK))

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> list[int]:
        first = next((event for group in groups for event in group), None)

        def work() -> list[int]:
            written = [0] * len(groups)
            if first is None:
                return written
            types = self._settle_types(self._new_types or types_of(first))
            of_user: dict[tuple[int, Id], list[bytes]] = defaultdict(list)
            for (user, item, when), group, _ in placed(groups, types):
                of_user[group, user] += (_bytes(item), str(when).encode())
            with self._redis.pipeline() as pipeline:  # MULTI and EXEC: no other command comes between
                for (_, user), values in of_user.items():
                    keys = (self._key("history", str(user)), self._key("users"))
                    self._append(keys=keys, args=[_bytes(user), *values], client=pipeline)
                for (group, _), count in zip(of_user, pipeline.execute(), strict=True):
                    written[group] += count
            return written

        return self._run(work)

    def append_rows(self, users: Sequence[Id], first_row: int, training_users: str) -> None:
        def work() -> None:
            self._redis.sadd(self._key("row_sets"), training_users)
            pairs = {_bytes(user): row for row, user in enumerate(users, first_row)}
            if pairs:
                self._redis.hset(self._key("rows", training_users), mapping=pairs)

        self._run(work)

    def forget(self, users: Sequence[Id]) -> int:
        def work() -> int:
            types = self._stored_types()
            asked = of_type(users, types.user) if types is not None else []
            if not asked:
                return 0
            names = [_bytes(user) for user in asked]
            digests: Any = self._redis.smembers(self._key("row_sets"))
            with self._redis.pipeline() as pipeline:
                pipeline.delete(*(self._key("history", str(user)) for user in asked))
                pipeline.zrem(self._key("users"), *names)
                for digest in digests:
                    pipeline.hdel(self._key("rows", digest.decode()), *names)
                return int(pipeline.execute()[0])

        return self._run(work)

    def close(self) -> None:
        self._redis.close()
