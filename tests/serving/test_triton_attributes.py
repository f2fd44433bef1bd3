"""`triton build --items-table`: columns of a file that the filters of a served model may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from serving.__main__ import main
from serving.export_folder import ExportFolder, open_export
from serving.recommend.requests import RequestError
from serving.triton import attributes, repository, server
from serving.triton.client import Client, ServerError
from tests.conftest import ROOT

STORED = ROOT / "tests" / "format_1" / "vae" / "export"


def _table(path: Path, ids: Sequence[object], on_sale: Sequence[object]) -> Path:
    rows = [f"{i},{i in on_sale},{k}" for k, i in enumerate(ids)]
    path.write_text("item_id,on_sale,price\n" + "\n".join(rows).lower() + "\n")
    return path


def test_a_table_is_written_whole_and_joined_to_the_items(tmp_path: Path) -> None:
    export = open_export(STORED)
    ids = export.item_ids.tolist()
    assert attributes.item_filter(tmp_path, export) is None
    attributes.check(tmp_path, export)
    columns = attributes.write(tmp_path / "model", export, _table(tmp_path / "a.csv", ids[:5], ids[1:3]))
    assert columns[-2:] == ["on_sale", "price"] and "item_id" in columns
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["items.parquet"]
    found = attributes.item_filter(tmp_path / "model", export)
    assert found is not None
    assert found.mask("on_sale = true").nonzero()[0].tolist() == [1, 2]
    assert found.mask("price >= 3").nonzero()[0].tolist() == [3, 4]


def test_a_table_of_other_items_is_refused_and_the_former_one_stays(tmp_path: Path) -> None:
    export = open_export(STORED)
    ids = export.item_ids.tolist()
    attributes.write(tmp_path, export, _table(tmp_path / "a.csv", ids, ids[:1]))
    before = (tmp_path / "items.parquet").read_bytes()
    with pytest.raises(RequestError, match="has none of the"):
        attributes.write(tmp_path, export, _table(tmp_path / "b.csv", [987_654_321], []))
    assert (tmp_path / "items.parquet").read_bytes() == before
    _table(tmp_path / "c.csv", ["x1"], [])
    with pytest.raises(RequestError, match="c.csv has item_ids of type string"):
        attributes.write(tmp_path, export, tmp_path / "c.csv")


@pytest.mark.slow
def test_a_server_filters_by_it_and_other_builds_keep_it(
    vae: ExportFolder, artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids, folder = vae.item_ids.tolist(), tmp_path / "models"
    table = _table(tmp_path / "sale.csv", ids, ids[::50])
    build = ["triton", "build", "--export", str(vae.folder), "--repository", str(folder), "--name", "films"]
    assert main([*build, "--items-table", str(tmp_path / "none.csv")]) == 2
    assert "none.csv does not exist" in capsys.readouterr().err and not folder.exists()
    assert main([*build, "--items-table", str(table)]) == 0
    assert "filters may name: item_id, " in capsys.readouterr().out
    assert main(build) == 0
    assert "attributes of items, as before" in capsys.readouterr().out
    assert repository.served_version(folder / "films") == 2
    with server.running(folder) as (_, ports), Client(f"127.0.0.1:{ports.http}", retries=0, timeout=20) as client:
        answer = client.recommend("films", items=ids[1:3], k=100, where="on_sale = true")
        assert sorted(answer.items) == sorted(ids[::50])
        with pytest.raises(ServerError, match="where names the column 'colour', the items have: .*on_sale, price"):
            client.recommend("films", items=ids[1:3], where="colour = 'red'")
