"""--allow and --deny of `recommend`: ids, or a file of ids as `batch` takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.__main__ import main
from serving.recommend.item_lists import ids_or_file
from tests.conftest import ROOT
from tests.serving.batch.linear import Items

STORED = ROOT / "tests" / "format_1" / "vae" / "export"


@pytest.fixture
def numbers(tmp_path: Path) -> Any:
    return Items(tmp_path, [10, 7_000_000_123, -5], int)


@pytest.fixture
def texts(tmp_path: Path) -> Any:
    return Items(tmp_path, ["a", "b,c", "d.txt"], str)


def test_a_file_gives_the_items_that_it_lists(numbers: Any, tmp_path: Path) -> None:
    path = tmp_path / "on-sale.csv"
    path.write_text("item_id,price\n-5,3\n999,4\n10,5\n")
    assert ids_or_file(str(path), "--allow", numbers) == [10, -5]
    path.write_text("item\n999\n")
    with pytest.raises(ValueError, match=r"--allow .*on-sale.csv names none of the items of the model"):
        ids_or_file(str(path), "--allow", numbers)


def test_ids_are_still_ids(numbers: Any, texts: Any) -> None:
    assert ids_or_file("10, 999", "--deny", numbers) == [10, 999]
    assert ids_or_file(",".join(map(str, range(5_000))), "--deny", numbers) == list(range(5_000))
    assert ids_or_file("", "--deny", numbers) == []
    assert ids_or_file("b,c,d.txt", "--deny", texts) == ["b,c", "d.txt"]
    assert ids_or_file("zzz", "--deny", texts) == ["zzz"]


def test_a_file_that_is_not_there_is_no_list_of_unknown_ids(numbers: Any, texts: Any) -> None:
    with pytest.raises(ValueError, match=r"--allow none.txt does not exist, and no item has such an id"):
        ids_or_file("none.txt", "--allow", texts)
    with pytest.raises(ValueError, match=r"--allow is 'none.txt', expected whole .* there is no file of this name"):
        ids_or_file("none.txt", "--allow", numbers)


def test_the_command_says_what_is_wrong_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deny.txt"
    path.write_text("1\nx\n")
    assert main(["recommend", "--export", str(STORED), "--items", "1", "--deny", str(path)]) == 2
    assert capsys.readouterr() == (
        "",
        f"error: --deny {path}: row 2 holds 'x', which is no whole number within int64, as the ids of the model are\n",
    )


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_allow_list_is_not_taken_for_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["recommend", "--export", str(STORED)], ["client", "--url", "127.0.0.1:9"]):
        assert main([*words, "--items", "1", "--allow", text]) == 2
        assert capsys.readouterr().err == (
            f"error: --allow is {text!r}: nothing could be recommended; leave it out for all items\n"
        )


@pytest.mark.slow
def test_files_choose_among_all_items(
    vae_export: Path, artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from serving.export_folder import open_export

    ids = open_export(vae_export).item_ids.tolist()
    allow, deny = tmp_path / "allow.csv", tmp_path / "deny.txt"
    allow.write_text("item\n" + "".join(f"{i}\n" for i in ids[200:206]))
    deny.write_text(f"{ids[201]}\n")
    words = ["--items", str(ids[0]), "--allow", str(allow), "--deny", str(deny), "--json", "--model", "onnx-fp32"]
    assert main(["recommend", "--export", str(vae_export), *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sorted(item["id"] for item in answer["items"]) == sorted({*ids[200:206]} - {ids[201]})
