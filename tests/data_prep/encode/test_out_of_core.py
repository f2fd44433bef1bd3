"""The data set is the same to the byte in memory, by way of the disk with any memory, and with any number of ranks."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_prep.encode import external, ids
from tests.conftest import ROOT, _environment
from tests.data_prep.conftest import Prepared

from . import small_memory

Write = Callable[[str], Path]
PROTOCOLS: dict[str, list[str]] = {
    "users": [],
    "leave-one-out": ["--protocol", "leave-one-out", "--negatives", "5"],
    "leave-one-out, filtered": [
        "--protocol", "leave-one-out", "--negatives", "5", "--max-user-items", "6", "--min-item-users", "10",
    ],
    "leave-one-out, mlperf": ["--protocol", "leave-one-out", "--negatives", "5", "--candidates", "mlperf"],
    "time": ["--protocol", "time"],
    "per-user": ["--protocol", "per-user"],
    "per-user, latest": ["--protocol", "per-user", "--choice", "latest"],
    "k-core": ["--k-core", "5", "--max-user-items", "20", "--threshold", "2"],
}  # fmt: skip
NEED_TIMES = ("time", "per-user, latest")
COLUMNS = ("--user-column", "user", "--item-column", "item")


def _rows(seed: int) -> list[tuple[int, int, float, int]]:
    """User, item, rating, day: repeated pairs, equal times, one user with a fifth of all rows."""
    rng = random.Random(seed)
    users = [7 if rng.random() < 0.2 else rng.randint(-30, 30) * 10**9 for _ in range(1500)]
    return [(u, rng.randint(1, 25 if u == 7 else 40), rng.randint(0, 10) / 2, rng.randint(0, 300)) for u in users]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Writes the rows once in a form: numbers, text, no times, late text, events."""
    folder = tmp_path_factory.mktemp("raw")

    def write(form: str) -> Path:
        path = folder / f"{form}.csv"
        lines = ["user,item,rating" + ("" if form == "no times" else ",timestamp")]
        for k, (user, item, rating, day) in enumerate(_rows(1)):
            who, what = str(user), str(item)
            if form == "text" or (form == "late text" and k > 1000):
                who, what = f"u{user}é", f"sku-{item * 7919 % 101}"
            time = 1_600_000_000 + day * 86_400 + (10**10 if form == "wide times" and k % 50 == 0 else 0)
            lines.append(f"{who},{what},{rating}" + ("" if form == "no times" else f",{time}"))
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the preparation take any memory; returns the calls of `external.gather`."""
    small_memory.shrink(monkeypatch.setattr)
    calls = []
    original = external.gather

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(named)
        return original(*given, **named)

    monkeypatch.setattr(external, "gather", counted)
    return calls


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("form", ["numbers", "text", "no times"])
def test_any_memory(form: str, protocol: str, raw: Write, prepare: Any, little: Any) -> None:
    if form == "no times" and protocol in NEED_TIMES:
        pytest.skip("needs times")
    words = ["table", "--raw", raw(form), *COLUMNS, *PROTOCOLS[protocol]]
    whole = prepare(*words, "--memory", "1GiB", out="whole")
    assert not little
    for memory in (300, 40_000):
        again = prepare(*words, *small_memory.words(memory), out=f"with-{memory}")
        assert len(little) == 1
        little.clear()
        assert again.content() == whole.content()
    assert sorted(p.name for p in whole.folder.parent.iterdir()) == ["whole", "with-300", "with-40000"]


@pytest.mark.parametrize("form", ["late text", "wide times"])
def test_types_that_turn_out_too_narrow(
    form: str, raw: Write, prepare: Any, little: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids that are text behind the rows that types are found from; times of 32 bits in some blocks, of 64 in others."""
    monkeypatch.setattr("data_prep.read.delimited.SAMPLE_ROWS", 100)
    monkeypatch.setattr("data_prep.read.cutting.BLOCK_BYTES", 1000)
    words = ["table", "--raw", raw(form), *COLUMNS, "--protocol", "time"]
    whole = prepare(*words, "--memory", "1GiB", out="whole")
    again = prepare(*words, *small_memory.words(3000), out="small")
    assert len(little) == 1
    assert again.content() == whole.content()


def test_synthetic(prepare: Any, little: Any) -> None:
    words = ["synthetic", "--like", "tiny", "--protocol", "leave-one-out", "--negatives", "5"]
    whole = prepare(*words, "--memory", "1GiB", out="whole")
    again = prepare(*words, *small_memory.words(300_000), out="small")
    assert len(little) == 1
    assert again.content() == whole.content()


def test_counts_and_events(prepare: Any, little: Any, tmp_path: Path) -> None:
    rng = random.Random(3)
    lines = [f"{rng.randint(1, 30)},{rng.randint(1, 20)},{rng.choice(['view', 'buy', 'share'])}" for _ in range(2000)]
    (tmp_path / "r.csv").write_text("user,item,event\n" + "\n".join(lines) + "\n")
    words = ["table", "--raw", tmp_path / "r.csv", *COLUMNS, "--event-weights", "view=1,buy=5", "--threshold", "6.5"]
    whole = prepare(*words, "--memory", "1GiB", out="whole")
    again = prepare(*words, *small_memory.words(3000), out="small")
    assert len(little) == 1
    assert again.content() == whole.content()
    assert whole.manifest["counts"]["rows_of_other_events"] == sum("share" in line for line in lines)


def test_more_rows_than_were_expected(raw: Write, prepare: Any, little: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An estimate that is far too low, as of a database: reading begins anew, by way of the disk."""
    monkeypatch.setattr("data_prep.read.source.FileSource.rows_estimate", lambda self: 0)
    words = ["table", "--raw", raw("text"), *COLUMNS]
    whole = prepare(*words, "--memory", "1GiB", out="whole")
    again = prepare(*words, *small_memory.words(3000), out="small")
    assert len(little) == 1
    assert again.content() == whole.content()


def test_texts_of_more_bytes_than_a_string_array_holds(
    raw: Write, prepare: Any, little: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["table", "--raw", raw("text"), *COLUMNS]
    usual = prepare(*words, "--memory", "1GiB", out="usual")
    monkeypatch.setattr(ids, "MOST_TEXT", 200)
    whole = prepare(*words, "--memory", "1GiB", out="whole")
    again = prepare(*words, *small_memory.words(3000), out="small")
    assert again.content() == whole.content()
    assert whole.items["item_id"].tolist() == usual.items["item_id"].tolist()
    assert whole.users("test") == usual.users("test")


@pytest.mark.parametrize("memory", [2000, 2**30])
def test_no_row_is_left(memory: int, refuse: Any, little: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,event\n" + "1,2,view\n" * 200)
    words = ["table", "--raw", tmp_path / "r.csv", *COLUMNS, "--event-column", "event", "--positive-events", "buy"]
    message = refuse(*words, *small_memory.words(memory))
    assert len(little) == (memory == 2000)
    assert message.startswith("error: no events left of 200 rows")


@pytest.mark.parametrize("memory", [2000, 2**30])
def test_no_positive_row_is_left(memory: int, refuse: Any, little: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,rating\n" + "1,2,1.0\n2,3,2.0\n" * 100)
    message = refuse("table", "--raw", tmp_path / "r.csv", *COLUMNS, *small_memory.words(memory))
    assert message.startswith("error: no events left of 200 rows")


def test_liang2018_needs_memory(raw: Write, refuse: Any, little: Any) -> None:
    message = refuse("table", "--raw", raw("numbers"), *COLUMNS, "--protocol", "liang2018", *small_memory.words(3000))
    assert "liang2018 keeps the order of the source and needs about 0.0 GiB of memory" in message
    assert message.endswith("raise --memory or use --protocol default")


def test_given_needs_memory(refuse: Any, little: Any, tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text("".join(f"{u} 1 2 3 4\n" for u in range(100)))
    words = [
        "--protocol",
        "given",
        "--format",
        "lists",
        "--train",
        tmp_path / "train.txt",
        "--test",
        tmp_path / "test.txt",
    ]
    message = refuse("table", *words, *small_memory.words(3000))
    assert "--protocol given reads all parts at once and needs about" in message


def test_what_a_killed_run_left_goes(raw: Write, prepare: Any, little: Any, tmp_path: Path) -> None:
    """The process of another number is not there any more; rows of an earlier try never get into a later one."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    import socket

    left = tmp_path / f".out.rows-{socket.gethostname()}-{int(done.stdout)}-abc"
    left.mkdir()
    (left / "rows-0000-0000").write_bytes(b"half of a")
    prepare("table", "--raw", raw("numbers"), *COLUMNS, *small_memory.words(3000))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("limit", [100, 3000])
@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.ranks)])
def test_a_full_disk_is_one_line_and_leaves_nothing(ranks: int, limit: int, raw: Write, tmp_path: Path) -> None:
    """The operating system refuses files over some bytes, as a full disk refuses them: of rows, or of matrices."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "from tests.data_prep.encode import small_memory; small_memory.shrink(); "
        "from data_prep.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["table", "--raw", raw("text"), *COLUMNS, *small_memory.words(3000), "--out", tmp_path / "out"]
    words += ["--protocol", "leave-one-out", "--negatives", "5"]
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks)] if ranks > 1 else []
    done = subprocess.run(
        [*mpirun, sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT, env=_environment(None), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    message = f"error: cannot write in {tmp_path}, where rows lie that do not fit into memory: File too large; nothing"
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("form", "protocol", "ranks"),
    [("text", "leave-one-out, filtered", 2), ("numbers", "time", 4), ("late text", "users", 3)],
)
def test_ranks(form: str, protocol: str, ranks: int, raw: Write, prepare: Any, command: Any, tmp_path: Path) -> None:
    words = ["table", "--raw", raw(form), *COLUMNS, *PROTOCOLS[protocol]]
    whole = prepare(*words, out="whole")
    for memory in (3000, 10**9):
        out = tmp_path / f"ranks-{memory}"
        mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", ranks, "python", "-m"]
        done = command([*mpirun, "tests.data_prep.encode.small_memory", memory, *words, "--out", out])
        assert done.returncode == 0, done.stderr
        assert Prepared(out).content() == whole.content()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ranks-1000000000", "ranks-3000", "whole"]


@pytest.mark.ranks
@pytest.mark.parametrize("source", ["synthetic", "events"])
def test_ranks_without_rows(source: str, prepare: Any, command: Any, tmp_path: Path) -> None:
    """Synthetic rows are all of the first rank; the events that count are all of the last, with ids of text."""
    if source == "synthetic":
        words: list[Any] = ["synthetic", "--like", "tiny", "--protocol", "leave-one-out", "--negatives", "5"]
    else:
        rows = [(f"u{k % 20}", (k // 20 + k) % 10, "buy" if k >= 800 else "view", 1e9 + k / 4) for k in range(1000)]
        (tmp_path / "r.csv").write_text("user,item,event,time\n" + "".join(f"{u},{i},{e},{t}\n" for u, i, e, t in rows))
        words = ["table", "--raw", tmp_path / "r.csv", "--positive-events", "buy", "--protocol", "time"]
    whole = prepare(*words, out="whole")
    for memory in (30_000, 10**9):
        out = tmp_path / f"ranks-{memory}"
        mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", 3, "python", "-m"]
        done = command([*mpirun, "tests.data_prep.encode.small_memory", memory, *words, "--out", out])
        assert done.returncode == 0, done.stderr
        assert Prepared(out).content() == whole.content()


@pytest.mark.ranks
def test_bad_input_on_another_rank_leaves_nothing(raw: Write, command: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(raw("numbers").read_text() + "12,cut")
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "3", "python", "-m"]
    words = [3000, "table", "--raw", path, *COLUMNS, "--out", tmp_path / "out"]
    done = command([*mpirun, "tests.data_prep.encode.small_memory", *words], timeout=100)
    assert done.returncode == 2
    assert "line 1502: " in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


def test_ids_of_no_part_are_whole_numbers() -> None:
    assert ids.one_array([pa.array([], pa.int64())]).type == pa.int64()
