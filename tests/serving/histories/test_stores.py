"""What every store of histories does. SQLite, PostgreSQL and Redis are real ones."""

from __future__ import annotations

import pytest

from serving.histories.events import LATEST_TIME, Event
from serving.histories.store import HistoryStore
from serving.ids import IdTypes
from tests.serving.histories.conftest import Opener

BIG = 2**63 - 1
"""19 digits; not equal to any float64."""


def test_a_history_is_in_the_order_of_its_latest_events(store: HistoryStore) -> None:
    store.append([Event(1, 10, 100), Event(1, 11, 50), Event(2, 10, 70), Event(1, 12, 60)])
    assert store.histories([1, 2, 3]) == [(11, 12, 10), (10,), None]
    assert store.append([Event(1, 11, 200), Event(1, 12, 10)]) == 1  # the second is older than what is stored
    assert store.histories([1]) == [(12, 10, 11)]


def test_equal_times_stand_in_the_order_of_arrival(store: HistoryStore) -> None:
    store.append([Event("u", "b"), Event("u", "a")])
    store.append([Event("u", "c"), Event("u", "b")])
    assert store.histories(["u"]) == [("a", "c", "b")]


def test_loading_twice_changes_nothing(store: HistoryStore) -> None:
    events = [Event(1, item, 0) for item in (5, 3, 4)]
    assert store.append(events) == 3
    store.append([Event(1, 3, 1_700_000_000)])
    assert store.append(events) == 0
    assert store.histories([1]) == [(5, 4, 3)]


@pytest.mark.parametrize(
    ("users", "items"),
    [
        ([-(2**63) + 1, -5, 0, 1, BIG], [BIG, BIG - 1, -7]),
        (["5", "ann@example.org", "Ünïcode ☃", "a'b\"; DROP TABLE x; --", "x:y{z}"], ["1", "sku-1", "a,b"]),
    ],
)
def test_ids_come_back_in_their_own_type(opener: Opener, users: list, items: list) -> None:
    opener().append([Event(user, item, k) for user in users for k, item in enumerate(items, 1)])
    again = opener()
    assert again.histories(users) == [tuple(items)] * len(users)
    assert [user for block in again.users(block=2) for user in block] == [u for b in opener().users() for u in b]
    assert sorted(user for block in again.users(2) for user in block) == sorted(users)
    kind = type(users[0])
    assert again.id_types == IdTypes(user=kind, item=kind)


def test_users_come_once_in_blocks(store: HistoryStore) -> None:
    store.append([Event(user, item, 1) for user in range(25) for item in (1, 2)])
    blocks = list(store.users(block=10))
    assert [len(b) for b in blocks] == [10, 10, 5]
    assert sorted(u for b in blocks for u in b) == list(range(25))


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Event("1", 1), "user is '1', expected a whole number as the other ids"),
        (Event(1, "1"), "item is '1', expected a whole number"),
        (Event(True, 1), "user is 'True'"),
        (Event(2**63, 1), "expected -9223372036854775807 to 9223372036854775807"),
        (Event(1, 1, 1_700_000_000_000), f"is 1700000000000, expected whole seconds since 1970, at most {LATEST_TIME}"),
        (Event(1, 1, -1), "time is -1"),
    ],
)
def test_bad_events_are_refused_whole(store: HistoryStore, event: Event, message: str) -> None:
    store.append([Event(1, 1, 1)])
    with pytest.raises(ValueError, match=message):
        store.append([Event(3, 3, 3), event])
    assert store.histories([3]) == [None]


@pytest.mark.parametrize("text", ["", "a\0b", "x" * 1001])
def test_bad_texts_are_refused(store: HistoryStore, text: str) -> None:
    store.append([Event("a", "b", 1)])
    with pytest.raises(ValueError, match="expected 1 to 1,000 without NUL"):
        store.append([Event("a", text)])


def test_a_forgotten_user_is_gone(store: HistoryStore) -> None:
    store.append([Event(1, 1, 1), Event(1, 2, 1), Event(2, 1, 1)])
    store.append_rows([1, 2], 0, "digest")
    assert store.forget([1, 99]) == 1
    assert store.histories([1, 2]) == [None, (1,)]
    assert store.rows([1, 2], "digest") == [None, 1]
    assert [u for b in store.users() for u in b] == [2]


def test_rows_belong_to_their_training_users(store: HistoryStore) -> None:
    store.append([Event(7, 1, 1)])
    store.append_rows([7, 8], 0, "one")
    store.append_rows([9], 2, "one")
    store.append_rows([8, 7], 0, "two")
    assert store.rows([9, 7, 3], "one") == [2, 0, None]
    assert store.rows([7], "two") == [1]
    with pytest.raises(ValueError, match="does not hold the users that the model was trained on"):
        store.rows([7], "three")


def test_no_users_and_no_events(store: HistoryStore) -> None:
    assert (store.histories([1]), store.append([]), store.id_types, list(store.users())) == ([None], 0, None, [])
    store.append([Event(1, 1)])
    assert store.histories([]) == []


def test_groups_are_written_in_their_order_and_counted_each(store: HistoryStore) -> None:
    store.append([Event(1, 10, 100)])
    groups = [
        [Event(1, 11, 200), Event(2, 20, 200), Event(1, 11, 150)],
        [],
        [Event(1, 10, 50)],  # older than what is stored
        [Event(1, 11, 200), Event(1, 12, 200)],  # 11 again, by another group: it moves behind what came before
        [Event(2, 21, 200), Event(2, 20, 200)],
    ]
    assert store.append_groups(groups) == [2, 0, 0, 2, 2]
    assert store.histories([1, 2]) == [(10, 11, 12), (21, 20)]


def test_one_bad_event_keeps_all_groups_from_being_written(store: HistoryStore) -> None:
    store.append([Event(1, 1, 1)])
    with pytest.raises(ValueError, match="item is 'x'"):
        store.append_groups([[Event(3, 3, 3)], [Event(4, "x")]])
    assert store.histories([1, 3, 4]) == [(1,), None, None]


def test_no_groups_decide_no_types(store: HistoryStore) -> None:
    assert store.append_groups([]) == [] and store.append_groups([[], []]) == [0, 0]
    assert store.id_types is None
    assert store.append_groups([[], [Event("u", "i")]]) == [0, 1]
