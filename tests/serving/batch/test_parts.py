"""Parts, shares, and what a folder must fit to be gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from serving.batch import parts
from serving.batch.parts import Plan, output_of
from serving.batch.shards import Shard, parse_shard, shard_of_rank

SETTINGS = {"export": "abc", "k": 10, "format": "parquet"}
ABOUT = {"users": 4, "rows": 1, "short": 0, "unknown": [[7, "no known item"]]}


def _plan(folder: Path, **settings: object) -> Plan:
    return Plan(output=output_of(folder, None), users=10, part_users=4, settings={**SETTINGS, **settings})


def _table(part: int) -> pa.Table:
    return pa.table({"user": [part], "rank": [1], "item": [5], "score": [0.5]})


def test_parts_hold_all_users_once(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "out")
    assert [plan.bounds(part) for part in range(len(plan))] == [(0, 4), (4, 8), (8, 10)]
    assert len(replace(plan, users=0)) == 0 and len(replace(plan, users=4)) == 1


def test_a_batch_goes_on_after_its_last_whole_part(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "out")
    assert not parts.begin(plan)
    parts.write_part(plan, 1, _table(1), ABOUT)
    (plan.output.folder / f".writing-999999@nowhere-{plan.path(2).name}").write_text("half")
    assert parts.begin(_plan(tmp_path / "out")) and plan.missing() == [0, 2]


def test_the_setting_that_was_changed_is_named_before_what_follows_from_it(tmp_path: Path) -> None:
    parts.begin(_plan(tmp_path / "out"))
    with pytest.raises(ValueError, match="was begun with k 10, this command has 20"):
        parts.begin(replace(_plan(tmp_path / "out", k=20), part_users=3))


@pytest.mark.parametrize("name", ["recs.xlsx", "recs.json", "recs.csv.gz", "recs.TXT"])
def test_a_file_of_another_kind_does_not_become_a_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not written; expected a name that ends in \.parquet, .*or a folder"):
        parts.output_of(tmp_path / name, None)
    (tmp_path / name).mkdir()
    assert parts.output_of(tmp_path / name, None).folder == tmp_path / name
    assert parts.output_of(tmp_path / "recs.2026-11-29", None).file is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 20}, "was begun with k 10, this command has 20"),
        ({"export": "x"}, "export abc, this command has x"),
        ({"popular": True}, "popular nothing, this command has True"),
    ],
)
def test_another_batch_is_refused(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    parts.begin(_plan(tmp_path / "out"))
    with pytest.raises(ValueError, match=message) as error:
        parts.begin(_plan(tmp_path / "out", **settings))
    assert f"--out {tmp_path / 'out'}" in str(error.value) and "\n" not in str(error.value)


def test_places_that_are_no_batch_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds own\.txt, and no batch to go on with"):
        parts.check_folder(tmp_path)
    with pytest.raises(ValueError, match=r"own\.txt is a file, expected a folder"):
        parts.check_folder(tmp_path / "own.txt")
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"a\.csv exists; remove it"):
        output_of(tmp_path / "a.csv", None)
    with pytest.raises(ValueError, match=r"--format is csv, --out .*a\.parquet has the name of a parquet file"):
        output_of(tmp_path / "a.parquet", "csv")
    parts.check_folder(tmp_path / "new")


def test_a_single_file_is_made_of_all_parts(tmp_path: Path) -> None:
    plan = replace(_plan(tmp_path / "all.csv"), users=8)
    parts.begin(plan)
    for part in (1, 0):
        parts.write_part(plan, part, _table(part), ABOUT)
    total = parts.finish(plan)
    assert (total.users, total.rows, total.unknown) == (8, 2, 2)
    assert (tmp_path / "all.csv").read_text().splitlines() == ['"user","rank","item","score"', "0,1,5,0.5", "1,1,5,0.5"]
    listed = (tmp_path / "all.unknown_users.csv").read_text()
    assert listed == "user,reason\n7,no known item\n7,no known item\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.csv", "all.unknown_users.csv"]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, Shard()),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, Shard(index=2, count=4)),
        ({"HOROVOD_RANK": "0", "HOROVOD_SIZE": "2"}, Shard(index=0, count=2)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, Shard(index=1, count=2)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, Shard(index=3, count=8)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Shard()),
        ({"OMPI_COMM_WORLD_RANK": "x", "OMPI_COMM_WORLD_SIZE": "4"}, Shard()),
    ],
)
def test_ranks_write_their_own_share(env: dict[str, str], expected: Shard) -> None:
    assert shard_of_rank(env) == expected


def test_shares_are_counted_from_one() -> None:
    assert parse_shard("2/8") == Shard(index=1, count=8) and str(parse_shard("2/8")) == "2/8"
    for text in ("0/8", "9/8", "1", "a/b", "1/0", ""):
        with pytest.raises(ValueError, match="expected I/N with I from 1 to N"):
            parse_shard(text)
