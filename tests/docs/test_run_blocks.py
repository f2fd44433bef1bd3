"""The blocks of README.md and docs/ that are marked `run: NAME`, as a reader types them from the first to the last."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA
from tests.docs.blocks import parse
from tests.docs.raw_movies import write_raw_movies
from tests.docs.reader import adapted, difference, named_blocks, run, script

PORTS = {"8000": "1", "8001": "2", "8002": "3"}


@pytest.fixture(scope="session")
def raw_movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MovieLens latest-small where it is, else a made folder of the same layout."""
    real = SHARED_DATA / "ml-latest-small"
    return real if real.is_dir() else write_raw_movies(tmp_path_factory.mktemp("raw") / "ml-latest-small")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(named_blocks()))
def test_the_blocks_of_a_name_work_from_the_first_to_the_last(name: str, tmp_path: Path, raw_movies: Path) -> None:
    wrong = [
        f"{printed.line.command}: {found}"
        for printed in run(name, tmp_path, raw_movies)
        if (found := difference(printed.shown, printed.printed, printed.output))
    ]
    assert not wrong


def test_made_movies_are_read_like_the_real_ones(tmp_path: Path) -> None:
    from data_prep.__main__ import main

    raw = write_raw_movies(tmp_path / "raw")
    assert main(["ml-latest-small", "--raw", str(raw), "--out", str(tmp_path / "data")]) == 0
    assert "Toy Story (1995)" in (raw / "movies.csv").read_text()


def test_nothing_is_downloaded_and_ports_are_free_ones() -> None:
    assert adapted("python -m data_prep ml-1m --download", PORTS, Path("/r")) == "python -m data_prep ml-1m --raw /r"
    assert adapted("curl 127.0.0.1:8000/x", PORTS, Path("/r")) == "curl 127.0.0.1:1/x"
    served = adapted("python -m serving triton serve --repository m", PORTS, Path("/r"))
    assert served.endswith("m --http-port 1 --grpc-port 2 --metrics-port 3")


def test_a_background_block_is_waited_for() -> None:
    text = "<!-- run: a; background until: curl -sf localhost:8000 -->\n```bash\nsleep 9\n```\n"
    lines = script(parse(Path("p"), text), PORTS, Path("/r")).splitlines()
    assert "exec_in_background() { sleep 9; }" in lines
    assert "curl -sf localhost:1 >/dev/null" in lines


TABLE = [
    "  rank  title        score",
    "------  ---------  ------",
    "     1  Heat (95)    4.25",
    "     2  Alien        3.8",
]
OTHER = ["  rank  title    score", "------  -----  ------", "     1  Up        1.25", "     2  Big       1.8"]


@pytest.mark.parametrize(
    ("shown", "printed", "output", "same"),
    [
        (["trained 13.2 s at 1,460 users/s"], ["trained 9 s at 2,001 users/s", "more"], "", True),
        (["trained 13.2 s"], ["exported 13.2 s"], "", False),
        (["trained 13.2 s"], ["trained 13.1 s"], "exact", False),
        (["trained 13.2 s"], ["trained 13.2 s"], "exact", True),
        (TABLE, OTHER, "", True),
        (TABLE, OTHER[:3], "", False),
        (["a", "...", "d"], ["a", "b", "c", "d"], "", True),
        (["a", "...", "d"], ["a", "b", "c"], "", False),
        (["a"], ["b", "a"], "", False),
        (["anything"], ["else"], "varies", True),
        (["anything"], [], "varies", False),
        ([], ["else"], "", True),
    ],
)
def test_differences_of_outputs(shown: list[str], printed: list[str], output: str, same: bool) -> None:
    assert (difference(shown, printed, output) == "") is same
