"""Committed records: how they are collected, merged into rows, written as text, and refused."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.pages import collect, layout
from benchmarks.pages.cells import Filler
from benchmarks.pages.committed import ROOT, Committed, problems, read_all
from benchmarks.pages.fields import described, figure_names
from benchmarks.pages.render import NOT_MEASURED, Renderer
from benchmarks.pages.values import ends_of, shown, spec
from recsys_core.measuring.records import read

MACHINE = {"cpu": "one", "cores": 2, "gpus": []}
ABOUT = {
    "command": "python -m benchmarks train --data /tmp/x/data --results /tmp/r.jsonl --busy",
    "time": "2026-01-31T23:59:00+00:00",
    "commit": "0123456789abcdef+changes",
    "machine": MACHINE,
    "versions": {"numpy": "1"},
    "conditions": {"seconds": 60.0, "others": 0.01, "steal": 0.0},
}
TABLES = """
names: {ease: EASE}
speeds:
  group: training/steps
  rows: [model]
  sort: -users_per_second
  beside: others
  published: [theirs]
  columns:
    model: model
    speed (users/s): users_per_second ,.0f
    NDCG@100: ndcg@100 .4f
    speed, published: published users_per_second ,.0f
papers: {others: others, rows: [model], columns: {model: model, speed: users_per_second, source: source}}
"""
PUBLISHED = """
theirs: {source: Them 2020, link: "https://example.org", about: their model, values: {users_per_second: 9000}}
others: {source: Others, about: a table, rows: [{model: ease, users_per_second: 77}, {model: b, source: B, link: l}]}
"""


def _record(model: str, transcribed: bool = False, **values: Any) -> dict[str, Any]:
    found = {"name": "steps", "kind": "train", **ABOUT, "model": model, **values}
    found["command"] = collect.generic(ABOUT["command"])  # type: ignore[arg-type]
    if transcribed:
        found |= {"transcribed": "a page at commit 1"}
        del found["time"], found["commit"]
    return {**found, "fields": described(found)}


EXAMPLE = "An example:\n\n    <!-- results: speeds -->\n    <!-- end of results -->\n\n"
"""Of the two lines, as a page shows them; nothing is written between them."""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a README and results/."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(
        "# A\n<!-- results: headlines -->\nold\n<!-- end of results -->\n\n<!-- results: papers -->\nold\n"
        "<!-- end of results -->\n\n<!-- results: speeds -->\n"
        f"<!-- end of results -->\n{EXAMPLE}end\n"
    )
    texts = {
        "tables.yaml": TABLES,
        "published.yaml": PUBLISHED,
        "page.md": '{{ counts.records }}\n{{ table("speeds") }}\n',
    }
    texts["headlines.yaml"] = """
- group: How fast
  what: speed
  ours: '{{ figure("training/steps", "users_per_second ,.0f middle", model="ease") }}'
  beside: '{{ published("theirs", "users_per_second ,.0f") }}'
"""
    for name, text in texts.items():
        (tmp_path / "results" / name).write_text(text)
    _write(tmp_path, [_record("ease", True, users_per_second=[1200.0, 1000.0, 1400.0])])
    return tmp_path


def _write(repository: Path, records: list[dict[str, Any]]) -> None:
    path = repository / "results" / "training.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize(
    ("value", "how", "text"),
    [
        (0.48, "x .3f", "0.480"),
        ([3.0, 1.0, 2.0], "x .1f", "2.0 (1.0 to 3.0)"),
        ([3.0], "x .1f", "3.0"),
        ({"mean": 0.5, "standard_error": 0.01}, "x .3f", "0.500 ± 0.010"),
        ({"mean": 0.5, "standard_error": 0.01}, "x .3f middle", "0.500"),
        ({"value": 0.01, "low": -0.02, "high": 0.04}, "x +.2f", "+0.01 (-0.02 to +0.04)"),
        ({"value": 9.0, "low": 8.0, "high": None}, "x .0f", "9 (8 to ?)"),
        ({"low": 3.0, "high": 10.0}, "x .0f", "3 to 10"),
        (0.25, "x .0%", "25%"),
        (0.0, "x .0e", "0"),
        (2e-7, "x .0e", "2e-07"),
        (0.25, "x ,.0f x1000", "250"),
        (12345, "x", "12,345"),
        ("text", "x", "text"),
        (None, "x .3f", ""),
    ],
)
def test_a_value_is_written_as_its_shape_says(value: Any, how: str, text: str) -> None:
    assert shown(value, spec(how)) == text


def test_no_more_decimals_than_a_record_holds() -> None:
    assert shown(0.448, spec("x .4f"), 3) == "0.448"
    assert shown(0.66, spec("x .1%"), 2) == "66%"
    with pytest.raises(ValueError, match="'x of y' is no figure"):
        spec("x of y")
    assert ends_of({"value": 1.0, "low": 0.5, "high": None}) is None


def test_a_command_has_no_path_of_its_machine() -> None:
    assert collect.generic(str(ABOUT["command"])) == "python -m benchmarks train --data D"
    long = "python -m vaecf.train --data=/a/b --run-dir /c --gate 'ndcg@100>=2'"
    assert (
        collect.generic(long, 4) == "horovodrun -np 4 python -m vaecf.train --data D --run-dir R --gate 'ndcg@100>=2'"
    )
    assert collect.generic("python -m recsys_core.compare /a/one:ease /a/one --metric hr@10/all --json /b") == (
        "python -m recsys_core.compare one:ease one --metric hr@10/all"
    )


def test_no_committed_record_has_a_path_of_its_machine() -> None:
    for path in (ROOT / "results").glob("*.jsonl"):
        for record in read(path, transcribed=True):
            words = [part for word in shlex.split(record["command"]) for part in word.split("=")]
            assert not [word for word in words if word.startswith(("/", "~"))], (path.name, record["command"])


def test_what_a_record_lacks_is_named() -> None:
    record = _record("ease", users_per_second=[1.0])
    assert problems(record) == []
    assert problems({**record, "command": "", "machine": {}}) == ["command", "machine"]
    assert problems({k: v for k, v in record.items() if k != "time"}) == ["time"]
    assert problems({**record, "fields": {}}) == ["fields", "the unit of users_per_second"]
    assert "a figure" in problems({k: v for k, v in record.items() if k != "users_per_second"})
    assert figure_names(
        {"kind": "a", "batch_size": 5, "word": "b", "is": True, "rung": {"name": "c"}, "x_ms": 1.0}
    ) == ["x_ms"]
    with pytest.raises(ValueError, match="no unit is known of 'speedd'"):
        described({"kind": "train", "speedd": 1.0})


def test_a_bad_line_is_named(repository: Path) -> None:
    _write(repository, [_record("a", users_per_second=1.0), {"kind": "train", "name": "steps"}])
    with pytest.raises(ValueError, match="line 2 of .*training.jsonl lacks command, fields, machine, time, a figure"):
        read_all(repository / "results")


def test_the_newest_counts_and_a_transcribed_figure_only_where_no_other_is() -> None:
    one = _record("ease", users_per_second=[1.0, 3.0])
    other = _record("ease", users_per_second=[5.0])
    old = _record("ease", True, users_per_second=[9.0], **{"ndcg@100": 0.5})
    (row,) = Committed(groups={"a/b": [one, other, old]}).rows("a/b", ["model"])
    assert row.values["users_per_second"] == [5.0] and row.values["ndcg@100"] == 0.5
    with pytest.raises(ValueError, match="no group 'a/c' of records, known are: a/b"):
        Committed(groups={"a/b": []}).rows("a/c", [])


def test_pages_are_made_twice_alike_and_marked(repository: Path) -> None:
    renderer = Renderer(repository)
    assert {path.name for path in renderer.write()} == {"README.md", "results.md"}
    assert Renderer(repository).write() == []
    text = (repository / "docs" / "results.md").read_text()
    assert "| EASE | 1,200 (1,000 to 1,400) | 77 |" in text
    assert "| their model; published, [Them 2020](https://example.org) | 9,000 |  |" in text
    assert "`python -m benchmarks train --data D`" in text and "Measured before records were kept." in text
    readme = (repository / "README.md").read_text()
    assert "| speed | 1,200 | 9,000 |" in readme and "old" not in readme and readme.endswith(f"-->\n{EXAMPLE}end\n")
    assert "(1 of 1 measured before records were kept)" in readme
    assert f"| EASE | 77 | Others |\n| b |  | [B](l) |\n\n{NOT_MEASURED}\n<!-- end" in readme


def test_old_figures_beside_new_ones_are_marked_one_by_one(repository: Path) -> None:
    old = [
        _record("ease", True, users_per_second=[1200.0], **{"ndcg@100": 0.5}),
        _record("a", True, users_per_second=7.0),
    ]
    _write(repository, [*old, _record("ease", users_per_second=[1500.0])])
    renderer = Renderer(repository)
    text = renderer.text
    assert "| EASE | 1,500 | 0.5000 † | 77 |" in text and "| a † | 7 |  |  |" in text
    assert "Measured 2026-01-31 23:59 UTC, commit 012345678 with changed files." in text
    assert "† Measured before records were kept." in text
    assert renderer.left() == {"speeds": 2} and renderer.counts["records"] == 3


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ('{{ table("speed") }}', "no table 'speed', known are: speeds, papers"),
        ('{{ figure("training/steps", "wall_s .1f", model="ease") }}', "have no figure 'wall_s .1f'"),
        ('{{ published("him", "x") }}', "no figure 'x' of 'him'"),
    ],
)
def test_a_template_that_asks_for_what_is_not_there(repository: Path, page: str, message: str) -> None:
    (repository / "results" / "page.md").write_text(page)
    with pytest.raises(ValueError, match=message):
        _ = Renderer(repository).text


@pytest.mark.parametrize(("text", "why"), [("group: a, column", ": .*column"), ("columns", " has both group and oth")])
def test_a_wrong_layout_is_named(repository: Path, text: str, why: str) -> None:
    (repository / "results" / "tables.yaml").write_text(f"speeds: {{rows: [b], {text}: {{}}}}\n")
    with pytest.raises(ValueError, match=f"table speeds of tables.yaml{why}"):
        layout.tables(repository / "results")
    with pytest.raises(ValueError, match=r"published.yaml has no table 'x', known are: "):
        Filler(Committed(groups={}), {}).rows(layout.Layout(others="x", rows=[], columns={}))


def _run(folder: Path, measured: dict[str, Any] | None) -> Path:
    folder.mkdir()
    result = {"test": {"metrics": {"ndcg@100": {"mean": 0.25, "standard_error": 0.125}}}, "seconds": 60.0}
    both = {"test": result["test"], "validation": result["test"]}
    content = {**result, **both, "baselines": {"popularity": both}, "world_size": 2}
    content |= {"measured": measured} if measured else {}
    (folder / "result.json").write_text(json.dumps(content))
    (folder / "run.json").write_text(json.dumps({"config": {"preset": "shallow"}, "model": "MultVae"}))
    return folder


def test_a_run_gives_its_model_and_its_baselines(tmp_path: Path) -> None:
    run = _run(tmp_path / "a", {**ABOUT, "command": f"python -m vaecf.train --data D --run-dir {tmp_path}/a"})
    model, popularity = collect.collected(run)
    assert model["model"] == "shallow" and model["seconds"] == 60.0 and "seconds" not in popularity
    assert model["ndcg@100"] == popularity["validation.ndcg@100"] == {"mean": 0.25, "standard_error": 0.125}
    assert model["command"] == "horovodrun -np 2 python -m vaecf.train --data D --run-dir R"
    busy = _run(tmp_path / "b", {**ABOUT, "conditions": {"seconds": 60.0, "others": 0.5, "steal": 0.0}})
    assert "seconds" not in collect.collected(busy)[0]
    with pytest.raises(ValueError, match="does not say which command made it"):
        collect.collected(_run(tmp_path / "c", None))
    with pytest.raises(ValueError, match="is no finished run"):
        collect.collected(tmp_path)


def test_comparisons_and_baselines_are_read(tmp_path: Path) -> None:
    values = {"difference": 0.1, "low": 0.0, "high": 0.2}
    models = {"runs/a:ease": {"difference": None}, "runs/a": values}
    content = {"metric": "ndcg@100", "reference": "runs/a:ease", "models": models, "measured": ABOUT}
    (tmp_path / "c.json").write_text(json.dumps(content))
    (found,) = collect.collected(tmp_path / "c.json")
    assert found["model"] == "a" and found["less_ease.ndcg@100"] == {"value": 0.1, "low": 0.0, "high": 0.2}
    own = {"metrics": {"ndcg@100": {"mean": 0.5, "standard_error": 0.1}}, "fit_seconds": 3.0}
    own["differences"] = {"ndcg@100": {"mean": 0.1, "low": 0.0, "high": 0.2}}
    content = {"split": "test", "reference": "ease", "baselines": {"edlae": own}, "measured": ABOUT}
    (tmp_path / "b.json").write_text(json.dumps(content))
    (found,) = collect.collected(tmp_path / "b.json")
    assert found["seconds"] == 3.0 and found["less_ease.ndcg@100"]["high"] == 0.2
    (tmp_path / "b.json").write_text(json.dumps({**content, "split": "valid"}))
    with pytest.raises(ValueError, match="on the valid users, expected test users"):
        collect.collected(tmp_path / "b.json")
    (tmp_path / "o.json").write_text("[1]")
    with pytest.raises(ValueError, match="o.json is no file of results"):
        collect.collected(tmp_path / "o.json")


def _results_file(path: Path, **more: Any) -> Path:
    paths = {"data": "/tmp/x/data", "export": "/tmp/x/run"}
    record = {"kind": "train", **ABOUT, **paths, "model": "ease", "users_per_second": [1500.0], **more}
    path.write_text(json.dumps(record) + "\n")
    return path


def test_record_keeps_new_figures_and_removes_old_ones(repository: Path, tmp_path: Path) -> None:
    words = [
        "--as",
        "training/steps",
        "--folder",
        str(repository / "results"),
        "--data-command",
        "python -m data_prep x",
    ]
    assert main(["record", str(_results_file(tmp_path / "r.jsonl")), *words]) == 0
    (kept,) = read_all(repository / "results").records
    assert kept["command"] == "python -m benchmarks train --data D" and kept["data"] == "python -m data_prep x"
    assert kept["export"] == "run"
    assert kept["fields"] == {"users_per_second": {"unit": "examples/s", "is": "speed of training or ranking"}}
    assert "1,500" in Renderer(repository).text
    assert main(["record", str(tmp_path / "r.jsonl"), *words]) == 0
    assert read_all(repository / "results").records == [kept], "the same file twice is the same record"


@pytest.mark.parametrize(
    ("more", "words", "message"),
    [
        ({}, ["--as", "steps"], "--as is 'steps', expected SUBJECT/NAME"),
        ({}, ["--as", "a/b", "--set", "x"], "--set is 'x', expected FIELD=TEXT"),
        ({}, ["--as", "a/b"], "--data-command is missing"),
        ({}, ["--as", "a/b", "--only", "him"], "no record of him in"),
        ({}, ["--as", "a/b", "--kind", "serve"], "no record to keep of"),
        ({"nonsense": 1.0}, ["--as", "a/b", "--data-command", "c"], "no unit is known of 'nonsense'"),
    ],
)
def test_what_cannot_be_kept_is_one_line(
    tmp_path: Path, more: dict[str, Any], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["record", str(_results_file(tmp_path / "r.jsonl", **more)), *words, "--folder", str(tmp_path / "f")]) == 1
    )
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "f").exists()


def test_a_busy_machine_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_BUSY", "0")
    path = _results_file(tmp_path / "r.jsonl", conditions={"seconds": 60.0, "others": 0.5, "steal": 0.0})
    assert main(["record", str(path), "--as", "a/b", "--data-command", "c"]) == 1
    assert "all 1 of a busy machine" in capsys.readouterr().err


def test_the_folder_of_a_group_without_a_table_is_told(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--folder", str(repository / "results"), "--data-command", "c"]
    assert main(["record", str(_results_file(tmp_path / "r.jsonl")), "--as", "training/other", *words]) == 0
    assert "no table shows training/other yet" in capsys.readouterr().out
    shutil.rmtree(repository / "results")


def test_tables_of_other_groups_need_no_records(repository: Path, tmp_path: Path) -> None:
    tables = repository / "results" / "tables.yaml"
    tables.write_text(f"{TABLES}later: {{group: training/later, rows: [model], columns: {{model: model}}}}\n")
    words = ["--folder", str(repository / "results"), "--data-command", "c", "--as", "training/steps"]
    assert main(["record", str(_results_file(tmp_path / "r.jsonl")), *words]) == 0


def test_a_transcribed_record_is_read_for_pages_only(repository: Path) -> None:
    _write(repository, [_record("a", True, users_per_second=7.0), _record("b", users_per_second=[8.0])])
    assert [record["model"] for record in read(repository / "results")] == ["b"]
    (repository / "results" / "bench-check.jsonl").write_text('{"kind": "check"}\n')
    assert len(read_all(repository / "results").records) == 2, "and runs of `check` are for no page"
