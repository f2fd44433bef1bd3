"""Items are found by title, in the forms in which people write titles."""

from __future__ import annotations

import pytest

from serving.recommend.requests import RequestError
from serving.recommend.titles import TitleIndex

TITLES = (
    "Toy Story (1995)",
    "Toy Story 2 (1999)",
    "Shawshank Redemption, The (1994)",
    "Emma (1996)",
    "Emma (2009)",
    "Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
    "Seven (a.k.a. Se7en) (1995)",
    "Ring, The (2002)",
    "Ring (1998)",
    "Avventura, L' (1960)",
    "Heat",
    "ÉTÉ",
    "",
    "2001: A Space Odyssey (1968)",
    "Confessions (2002)",
    "Confessions (2002)",
    "Friends (1994-2004)",
)
IDS = [1, 3114, 318, 838, 84847, 1201, 47, 7, 8, 9, 10, 11, 12, 924, 6000000, 6000000123, 17]
INDEX = TitleIndex(TITLES, IDS)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("Toy Story (1995)", 1),
        ("Toy Story", 1),
        ("  toy   STORY ", 1),
        ("Toy Story 2", 3114),
        ("Shawshank Redemption", 318),
        ("The Shawshank Redemption", 318),
        ("the shawshank redemption (1994)", 318),
        ("Shawshank Redemption, The", 318),
        ("shawsh", 318),
        ("the shawsh", 318),
        ("Emma (2009)", 84847),
        ("The Good, the Bad and the Ugly", 1201),
        ("Good, the Bad", 1201),
        ("Il Buono, il brutto, il cattivo", 1201),
        ("Se7en", 47),
        ("Seven (1995)", 47),
        ("The Ring", 7),
        ("ring", 8),
        ("L'Avventura", 9),
        ("heat", 10),
        ("été", 11),
        ("2001: A Space Odyssey", 924),
        ("2001", 924),
        ("Friends", 17),
        ('"Toy Story"', 1),
    ],
)
def test_a_title_is_found(text: str, item: int) -> None:
    assert INDEX.find([text]) == ([item], ())


@pytest.mark.parametrize("text", ["Alien", "Toy Story (1996)", "None", "(1995)", "Story"])
def test_a_title_that_no_item_has(text: str) -> None:
    assert INDEX.find([text]) == ([], (text,))


def test_nothing_is_no_title() -> None:
    assert INDEX.matches("") == INDEX.matches(' " ') == []
    assert INDEX.find([]) == ([], ())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Emma", ['  id 838: "Emma (1996)"', '  id 84847: "Emma (2009)"']),
        ("toy", ['  id 1: "Toy Story (1995)"', '  id 3114: "Toy Story 2 (1999)"']),
        ("Confessions (2002)", ['  id 6000000: "Confessions (2002)"', '  id 6000000123: "Confessions (2002)"']),
    ],
)
def test_several_matches_are_listed_with_their_ids(text: str, lines: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        INDEX.find(["Heat", text])
    give = "the id of one" if text == "Confessions (2002)" else "the full title or the id of one"
    head = f'2 items match the title "{text}"; give {give}:'
    assert str(refused.value).splitlines() == [head, *lines]


def test_all_matches_are_listed_but_of_very_many() -> None:
    for count, last in ((40, '  id 39: "Part 39"'), (1_000, "  and 900 more")):
        many = TitleIndex([f"Part {k}" for k in range(count)], list(range(count)))
        with pytest.raises(RequestError) as refused:
            many.find(["Part"])
        assert str(refused.value).splitlines()[-1] == last


@pytest.mark.parametrize(
    ("value", "titles"),
    [
        ("Toy Story,Heat", ["Toy Story", "Heat"]),
        (" Toy Story , ,Heat, ", ["Toy Story", "Heat"]),
        ("Toy Story;Shawshank Redemption, The", ["Toy Story", "Shawshank Redemption, The"]),
        ("Shawshank Redemption, The (1994),Heat", ["Shawshank Redemption, The (1994)", "Heat"]),
        ("Heat,Good, the Bad and the Ugly, The,Toy Story", ["Heat", "Good, the Bad and the Ugly, The", "Toy Story"]),
        ('"Good, the Bad and the Ugly, The",Heat', ['"Good, the Bad and the Ugly, The"', "Heat"]),
        ("Good, the Bad", ["Good, the Bad"]),
        ("Alien,Aliens", ["Alien,Aliens"]),
        ("Heat;Alien", ["Heat;Alien"]),
        ("Shawshank Redemtion, The", ["Shawshank Redemtion, The"]),
        ("Heat,2001", ["Heat,2001"]),
    ],
)
def test_a_text_is_a_list_of_titles_where_all_its_parts_are_titles(value: str, titles: list[str]) -> None:
    assert list(INDEX.split(value)) == titles


def test_the_nearest_titles() -> None:
    assert INDEX.nearest("Toy Stroy") == ["Toy Story (1995)", "Toy Story 2 (1999)"]
    assert INDEX.nearest("Shawshenk Redemtion")[0] == "Shawshank Redemption, The (1994)"
    assert INDEX.nearest("Shawshenk")[0] == "Shawshank Redemption, The (1994)"
    assert INDEX.nearest("Emna")[:2] == ["Emma (1996)", "Emma (2009)"]
    assert INDEX.nearest("qqqqqqqq") == []
