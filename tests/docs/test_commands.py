"""Every command in the pages runs as it stands there, or says what it needs and has flags that exist."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, SHARED_DATA
from tests.docs import flags, stand_in
from tests.docs.blocks import Block, all_blocks, blocks_of, steps_of
from tests.docs.outputs import difference
from tests.docs.reader import Reader

BLOCKS = all_blocks()
NAMES = list(dict.fromkeys(block.name for block in BLOCKS if block.marker == "run"))
NEEDED = {"proxy": "nginx"}
"""Name -> a program that is no package of Python, without which its blocks are not run."""
IN_SHELL = [block for block in BLOCKS if block.language != "python"]


def _free_ports() -> tuple[int, int, int, int]:
    sockets = [socket.socket() for _ in range(4)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        first, second, third, fourth = (one.getsockname()[1] for one in sockets)
        return first, second, third, fourth
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Run the blocks of a name, and those of the name that it comes after; each name once. Returns their folder."""
    readers: dict[str, Reader] = {}
    failed: dict[str, str] = {}
    generated: list[Path] = []

    def raw(name: str) -> Path:
        if (SHARED_DATA / name).is_dir():
            return SHARED_DATA / name
        assert name == "ml-latest-small", f"{name} cannot be generated here: mark the block with 'needs: network'"
        if not generated:
            generated.append(stand_in.write(tmp_path_factory.mktemp("raw") / name))
        return generated[0]

    def run(name: str) -> Path:
        assert name not in failed, f"{name} failed before: {failed[name]}"
        if name in readers:
            return readers[name].home
        blocks = [block for block in BLOCKS if block.marker == "run" and block.name == name]
        assert blocks, f"no block has the marker 'run: {name}'"
        before = next((block.after for block in blocks if block.after), "")
        if before:
            run(before)
            readers[name] = readers[before]
        else:
            titles = (SHARED_DATA / "ml-latest-small").is_dir()
            readers[name] = Reader(tmp_path_factory.mktemp(name), raw, _free_ports(), titles)
        try:
            for block in blocks:
                readers[name].run(block)
        except AssertionError as error:
            failed[name] = str(error)
            raise
        return readers[name].home

    yield run
    for reader in readers.values():
        reader.close()


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", NAMES)
def test_blocks_run_as_a_reader_types_them(name: str, read: Callable[[str], Path]) -> None:
    program = NEEDED.get(name, "bash")
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    read(name)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_file_that_getting_started_writes_is_described(read: Callable[[str], Path]) -> None:
    described = (ROOT / "docs" / "reference" / "files.md").read_text()
    home = read("getting-started")
    written = [path for folder in ("data/small", "runs/first", "models") for path in (home / folder).rglob("*")]
    as_folders = {"tensorboard", "saved_model", "__pycache__"}
    names = {path.name for path in written if path.is_file() and not as_folders & set(path.parts)}
    assert {"manifest.json", "run.json", "golden.npz", "verify.json", "published.json"} <= names
    assert sorted(name for name in names if f"{name}`" not in described) == []


@pytest.mark.parametrize("block", IN_SHELL, ids=lambda block: block.place)
def test_a_block_is_run_or_says_what_it_needs(block: Block) -> None:
    assert block.marker, f"{block.place}: no <!-- run: NAME --> or <!-- needs: ... --> on the line before the block"


@pytest.mark.parametrize("block", IN_SHELL, ids=lambda block: block.place)
def test_commands_and_flags_exist(block: Block) -> None:
    wrong = [
        problem
        for step in steps_of(block)
        for words in flags.commands_in(step.command)
        for problem in flags.wrong_flags(words)
    ]
    assert not wrong, f"{block.place}: {'; '.join(wrong)}"


PAGE = """
Text.

<!-- run: first -->
```console
$ python -m data_prep synthetic \\
    --like tiny
read 10 rows
...
$ echo 'two
> lines'
two
lines
```

<!-- needs: gpu -->

    make train
    # a comment
    make test

```bash
true
```

    some: yaml

    make data

- a list

    continued, not a command

<!-- run: second after first; exact; status 2 -->
```python
print(1)
```
"""


def test_blocks_of_a_page() -> None:
    console, indented, bare, after_yaml, python = blocks_of(Path("page.md"), PAGE)
    assert (console.marker, console.name, console.line) == ("run", "first", 6)
    steps = steps_of(console)
    assert [step.command for step in steps] == [
        "python -m data_prep synthetic \\\n    --like tiny",
        "echo 'two\nlines'",
    ]
    assert [step.output for step in steps] == [("read 10 rows", "..."), ("two", "lines")]
    assert (indented.marker, indented.text) == ("needs", "gpu")
    assert [step.command for step in steps_of(indented)] == ["make train", "make test"]
    assert bare.marker == after_yaml.marker == ""
    assert [step.command for step in steps_of(after_yaml)] == ["make data"]
    assert (python.name, python.after, python.exact, python.status) == ("second", "first", True, 2)


@pytest.mark.parametrize(
    ("shown", "printed", "exact", "titles", "same"),
    [
        (["a", "b"], ["a", "b"], False, True, True),
        (["a", "b"], ["a", "c"], False, True, False),
        (["a"], ["a", "more"], False, True, False),
        (["a", "..."], ["a", "more"], False, True, True),
        (["...", "z"], ["a", "more", "z"], False, True, True),
        (["...", "z"], ["z", "more"], False, True, False),
        (["a", "...", "c", "[...]"], ["a", "b", "c", "d"], False, True, True),
        (["took 1.5 s, 2,000 rows"], ["took 12 s, 3 rows"], False, True, True),
        (["took 1.5 s"], ["took long"], False, True, False),
        (["fp32, 1 process"], ["fp16, 1 process"], False, True, False),
        (["took 1.5 s"], ["took 1.6 s"], True, True, False),
        (["  1  Jumanji (1995)   2  4.25"], ["  1  Heat (1995)  6  3.00"], False, True, False),
        (["  1  Jumanji (1995)   2  4.25"], ["  1  Heat (1995)  6  3.00"], False, False, True),
    ],
)
def test_output_is_compared_in_form(
    shown: list[str], printed: list[str], exact: bool, titles: bool, same: bool
) -> None:
    assert (difference(shown, printed, exact, titles) == "") is same


def test_a_flag_that_no_command_has_is_found() -> None:
    line = "horovodrun -np 2 python -m vaecf.train --data D --run-dir R --epoch 3 && python -m serving triton start"
    first, second = flags.commands_in(line)
    assert flags.wrong_flags(first) == ["vaecf.train has no --epoch"]
    assert "no such command" in flags.wrong_flags(second)[0]
    launched = "horovod_launch run -np 2 vaecf.train -- --data D --run-dirs R".split()
    assert flags.wrong_flags(launched) == ["vaecf.train has no --run-dirs"]
