"""Names that columns of users, items, values and times usually have, and how a name is compared with them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words(name: str) -> tuple[str, ...]:
    """The words of a column name, in lower case: ("user", "id") of userId, USER_ID, "User Id" and user-id."""
    return tuple(word.lower() for word in _WORD.findall(name))


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


USERS = (
    _set("userid uid userno useridx customerid customerno custid memberid accountid visitorid reviewerid clientid")
    | _set("buyerid shopperid listenerid readerid subscriberid profileid personid"),
    _set("user users customer member account visitor reviewer client buyer shopper listener reader subscriber person"),
    _set("useremail customeremail email emailaddress memberemail username login"),
    _set("sessionid session sessid basketid cartid"),
)
"""Names of users, joined to one word; those of an earlier set are taken before those of a later one."""
ITEMS = (
    _set(
        "movieid itemid iid productid productno productcode articleid articleno sku skuid asin parentasin isbn ean gtin"
    )
    | _set("songid trackid artistid albumid businessid poiid locationid venueid bookid videoid newsid filmid showid")
    | _set("gameid contentid documentid docid adid recipeid animeid stockcode goodsid listingid placeid gmapid"),
    _set("item items movie product article song track artist album business poi venue book video film recipe"),
)
RATINGS = _set("rating ratings stars star starrating score overall ratingvalue userrating")
LABELS = _set("label labels clicked liked isclick isclicked click isliked")
COUNTS = _set("count counts plays playcount quantity qty listens listencount playcounts numplays")
VALUES = (RATINGS, LABELS, COUNTS)
TIMES = (
    _set("timestamp timestamps unixreviewtime unixtime unixtimestamp datetime ts eventtime eventtimestamp epoch"),
    _set("time date"),
)
_TIMES_JOINED = _set("tdat createdat purchasedat boughtat orderedat playedat watchedat orderdate purchasedate")
_TIME_ENDS = _set("at time timestamp ts date datetime")
_LATE = _set("updated modified deleted changed expires expired valid end ended closed birth release released")
"""First words of times that are not those of an interaction."""
_RATING_ENDS = _set("rating ratings stars")
_OF_ALL = _set("avg average mean num count total")
"""Words of ratings that are those of all users together."""
EVENTS = (
    _set("event eventtype eventname action actiontype behavior behaviour behaviortype behaviourtype"),
    _set("interactiontype interaction type"),
)


def best(names: Sequence[str], known: Sequence[frozenset[str]]) -> list[str]:
    """The columns whose names are in the first set that has any of them."""
    for tier in known:
        if found := [name for name in names if "".join(words(name)) in tier]:
            return found
    return []


def best_values(names: Sequence[str]) -> list[str]:
    """The columns whose names are the best ones of ratings, labels or counts."""
    ended = [n for n in names if (w := words(n)) and w[-1] in _RATING_ENDS and not _OF_ALL & set(w)]
    return best(names, VALUES[:1]) or ended or best(names, VALUES[1:])


def best_times(names: Sequence[str]) -> list[str]:
    """The columns whose names are the best ones of times."""
    if found := best(names, TIMES):
        return found
    ended = [n for n in names if _ends_as_time(words(n))]
    return [n for n in ended if not _LATE & set(words(n))] or ended


def _ends_as_time(name: Sequence[str]) -> bool:
    return (len(name) > 1 and name[-1] in _TIME_ENDS) or "".join(name) in _TIMES_JOINED
