"""`serving recommend`: titles, unknown names and ids of every kind, as a user gives them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from serving import targets
from serving.__main__ import main
from serving.engines.engine import open_engine
from serving.export_folder import ExportFolder, IdTypes, open_export
from serving.recommend.recommender import Recommender
from serving.recommend.requests import check_request
from tests.conftest import ROOT
from tests.serving import other_ids

STORED = ROOT / "tests" / "format_1" / "vae" / "export"
TITLES = ("Toy Story (1995)", "Shawshank Redemption, The (1994)", "Emma (1996)", "Emma (2009)", "Heat (1995)")
"""Of the items with the ids 1, 2, 4, 5 and 6."""


@pytest.fixture(scope="module")
def titled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small export with titles."""
    return other_ids.copy(STORED, tmp_path_factory.mktemp("titled") / "export", titles=TITLES)


def _says(capsys: pytest.CaptureFixture[str], export: Path, *words: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of the command."""
    capsys.readouterr()
    status = main(["recommend", "--export", str(export), *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_several_matches_are_an_error_that_lists_them(titled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _says(capsys, titled, "--titles", "Toy Story,emma") == (
        2,
        "",
        'error: 2 items match the title "emma"; give the full title or the id of one:\n'
        '  id 4: "Emma (1996)"\n  id 5: "Emma (2009)"\n',
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--titles", "Toy Stori"), 'no item has the title "Toy Stori"; do you mean "Toy Story (1995)"?'),
        (
            ("--titles", "qqqqq", "Haet"),
            'no item has the title "qqqqq"; no item has the title "Haet"; do you mean "Heat (1995)"?',
        ),
        (("--items", "6000000123"), "no item has the id 6000000123; this data set has ids such as 1, 2, 4"),
        (
            ("--items", "777", "--titles", "qqqqq", "--user", "999"),
            'nothing is known:\n  no item has the title "qqqqq"\n  no item has the id 777\n  '
            "this data set has ids such as 1, 2, 4",
        ),
    ],
)
def test_nothing_known_is_an_error(
    titled: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _says(capsys, titled, *words) == (2, "", f"error: {message}\n")


def test_a_data_set_without_titles_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    message = "error: --titles: this data set has no titles; name items by id with --items\n"
    assert _says(capsys, STORED, "--titles", "Heat") == (2, "", message)


@pytest.mark.slow
def test_titles_are_the_ids_that_they_stand_for(titled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_id = _says(capsys, titled, "--items", "1,2,6")
    assert by_id[0] == 0 and "loading TensorFlow and the exported model" in by_id[2]
    for words in (
        ("--titles", "Toy Story,Shawshank Redemption, The,heat"),
        ("--titles", "heat;toy story;The Shawshank Redemption"),
        ("--titles", "Toy Story", "--titles", "Shawshank Redemption, The", "--items", "6"),
    ):
        status, out, err = _says(capsys, titled, *words)
        assert (status, out) == by_id[:2]
        assert "Shawshank Redemption, The (1994) (id 2)" in err.splitlines()[0]
    status, out, err = _says(capsys, titled, "--titles", "Toy Story", "Alien", "--items", "2,6,77777777")
    assert (status, out) == by_id[:2]
    assert 'ignored: no item has the title "Alien"\nignored: no item has the id 77777777\n' in err


def test_a_list_of_which_a_part_is_no_title_is_one_title(titled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _says(capsys, titled, "--titles", "Toy Story,Alien")
    assert (status, out) == (2, "")
    assert err.startswith('error: no item has the title "Toy Story,Alien"; do you mean "Toy Story (1995)"')
    assert err.endswith("; several titles: repeat --titles\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--where", "colour = 'red'"), "where names the column 'colour', the items have: item_id, title, count"),
        (("--where", "count >"), "where is 'count >', expected comparisons"),
        (("--where", "x" * 1_001), "where has 1,001 characters"),
        (("--items-table", "nothing.csv", "--where", "count > 1"), "nothing.csv does not exist"),
        (("--json", "--format", "csv"), "--json and --format csv differ"),
    ],
)
def test_a_filter_or_a_format_that_is_none_is_refused_before_the_model_is_loaded(
    titled: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    status, out, err = _says(capsys, titled, "--items", "1", *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}" if words[0] != "--items-table" else "error: --items-table nothing")
    assert message in err and err.count("\n") == 1


@pytest.mark.slow
def test_a_filter_on_a_table_beside_the_export(
    titled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = open_export(titled).item_ids.tolist()
    rows = [f"{i},{'War|Drama' if i % 2 else 'Comedy'},{1900 + k}" for k, i in enumerate(ids)]
    (tmp_path / "more.csv").write_text("item_id,genre,year\n" + "\n".join(rows) + "\n")
    where = ("--items-table", str(tmp_path / "more.csv"), "--where", "genre = 'Drama' and year > 1901", "-k", "5")
    status, out, _ = _says(capsys, titled, "--items", str(ids[0]), *where, "--format", "csv")
    found = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert list(found[0]) == ["rank", "id", "title", "score"]
    assert [row["rank"] for row in found] == [str(k) for k in range(1, len(found) + 1)]
    assert all(int(row["id"]) % 2 and ids.index(int(row["id"])) > 1 for row in found)


@pytest.mark.slow
def test_an_unknown_user_gets_what_is_popular(titled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _says(capsys, titled, "--user", "7000000001")
    assert status == 0 and "note: user 7000000001 is not known" in err
    assert out.startswith("no known user or item: the most popular items\n")


KINDS: dict[str, tuple[Any, Any, IdTypes]] = {
    "ten digits": (lambda u: 7_000_000_000 + u, lambda i: 6_000_000_000 + i, IdTypes()),
    "seven digits": (lambda u: 7_000_000 + u, lambda i: 6_000_000 + i, IdTypes()),
    "text": (lambda u: f"user{u}@example.org", lambda i: f"sku-{i:04}", IdTypes(user=str, item=str)),
    "text like numbers": (lambda u: f"{u:09}", lambda i: f"{i}e5", IdTypes(user=str, item=str)),
    "text and numbers": (lambda u: f"user {u}", lambda i: 1_000_000 + i, IdTypes(user=str, item=int)),
    "text with commas": (lambda u: f"user {u}, esq.", lambda i: f"A,{i},", IdTypes(user=str, item=str)),
    "below zero": (lambda u: -1 - u * (2**53 + 1), lambda i: (i - 9) * (2**53 + 1) - 1, IdTypes(below_zero=True)),
    "beyond int64": (lambda u: 2**63 + u, lambda i: 2**64 - 1 - i, IdTypes(user=str, item=str)),
    "numbers stored as floats": (lambda u: u + 7e6, lambda i: i + 6e6, IdTypes(user=str, item=str)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_printed_whole(
    kind: str, vae: ExportFolder, artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answers are those of the export with the original ids, each id replaced."""
    user_of, item_of, types = KINDS[kind]
    export = open_export(other_ids.copy(vae.folder, tmp_path / "export", user=user_of, item=item_of))
    assert export.id_types == types

    def text(value: Any) -> str:
        return f"{value:.0f}" if isinstance(value, float) else str(value)

    engine = open_engine(targets.artifact(artifacts["vae"], "onnx-fp32"))
    user, first = int(vae.user_ids[3]), int(vae.item_ids[5])
    denied = [int(i) for i in vae.item_ids[40:60]]
    request = check_request(user_id=user, item_ids=[first], k=7, deny=denied, top_k=vae.top_k)
    (expected,) = Recommender(vae, engine).recommend([request])
    model = ("--model", "onnx-fp32", "--models", str(artifacts["vae"]), "-k", "7")
    who = (f"--user={text(user_of(user))}", f"--items={text(item_of(first))}")
    deny = (f"--deny={','.join(text(item_of(i)) for i in denied)}",)
    status, out, _ = _says(capsys, export.folder, *model, *who, *deny)
    wanted = [text(item_of(int(i))) for i in expected.item_ids]
    assert status == 0
    assert [line.split()[-2] for line in out.splitlines()[2:]] == wanted
    status, out, _ = _says(capsys, export.folder, *model, *who, *deny, "--json")
    found = json.loads(out)
    assert [text(item["id"]) for item in found["items"]] == wanted
    assert {type(item["id"]) for item in found["items"]} == {types.item}
    assert (status, found["source"], found["note"]) == (0, "model", "")
    status, out, err = _says(capsys, export.folder, *model, "--user", "1234567", f"--allow={','.join(wanted)}")
    assert "note: user 1234567 is not known" in err
    counts = dict(zip([text(item_of(int(i))) for i in vae.item_ids], vae.items["count"].tolist(), strict=True))
    assert [line.split()[-2:] for line in out.splitlines()[3:]] == [
        [item, str(counts[item])] for item in sorted(wanted, key=lambda w: (-counts[w], list(counts).index(w)))
    ]
