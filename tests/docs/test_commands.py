"""Every command of README.md and docs/ is run by a test or says what it needs, and has only flags that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs import flags
from tests.docs.blocks import COMMAND_START, PAGES, Line, blocks, command_lines, parse, stray_commands

HISTORY = {"renamed.md", "changelog.md"}
"""Pages that name flags of earlier versions."""
UNMARKED = {"README.md", "data.md", "serving.md"}
"""Pages whose blocks have no markers yet. Remove a page here once it has them: its test then fails as passed."""
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def _pages(*, without: set[str] = HISTORY) -> list[object]:
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES if p.name not in without]


def _marked_pages() -> list[object]:
    mark = pytest.mark.xfail(strict=True, reason="the page has no markers yet")
    return [pytest.param(p, id=str(p.relative_to(ROOT)), marks=[mark] if p.name in UNMARKED else []) for p in PAGES]


@pytest.mark.parametrize("page", _marked_pages())
def test_every_block_is_run_or_says_what_it_needs(page: Path) -> None:
    unmarked = [block.place for block in blocks(page) if not block.kind]
    assert not unmarked, f"write <!-- run: NAME --> or <!-- needs: WHAT --> before the blocks {', '.join(unmarked)}"
    assert not stray_commands(page.read_text()), "commands belong into ```bash or ```console blocks"


@pytest.mark.parametrize("page", _pages(without=set()))
def test_tests_that_a_block_names_exist(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "run by":
            assert (ROOT / block.value).is_file(), block.place


@pytest.mark.parametrize("page", _pages())
def test_commands_have_only_flags_that_exist(page: Path) -> None:
    found = [
        f"{block.place}: {f}" for block in blocks(page) for line in block.lines for f in flags.faults(line.command)
    ]
    for span in INLINE.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        text = " ".join(span.split())
        if COMMAND_START.match(text) and "|" not in text:
            found += [f"`{text}`: {fault}" for fault in flags.faults(text)]
        elif re.fullmatch(r"--[a-z][\w-]*", text.partition(" ")[0].partition("=")[0]):
            name = text.partition(" ")[0].partition("=")[0]
            found += [] if name in flags.all_flags() else [f"`{text}`: no command has {name}"]
    assert not found


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("python -m vaecf.train --data D --run-dir R --epochs 3", None),
        ("python -m vaecf.train --data D --epoch 3", "vaecf.train has no --epoch"),
        ("horovodrun -np 2 python -m ncf_tf.train --factors 8 2>&1 | tee log", None),
        ("horovodrun --np 2 python -m vaecf.train --data D", "horovodrun has no --np"),
        ("python -m horovod_launch run -np 2 vaecf.train -- --data D --latent 3", None),
        ("python -m horovod_launch run -np 2 vaecf.train -- --factors 3", "vaecf.train has no --factors"),
        ("python -m serving triton build --export E --repository models", None),
        ("python -m serving triton serve --export E", "serving triton serve has no --export"),
        ("python -m nothing --data D", "no command python -m nothing --data"),
        ("make train DATASET=ml-1m", None),
        ("make tain", "make has no tain"),
        ("make train DATA_SET=ml-1m", "make has no DATA_SET"),
        ("python -m examples.quickstart && curl -s http://127.0.0.1:8000/x -d '{\"--a\": 1}'", None),
    ],
)
def test_faults_of_a_command(command: str, fault: str | None) -> None:
    assert flags.faults(command) == ([fault] if fault else [])


def test_console_blocks_hold_commands_and_their_output() -> None:
    body = ["$ python -m a \\", "  --flag", "one", "  two", "$ curl -d '{", "}'", "three"]
    assert command_lines(body, "console") == [
        Line(command="python -m a \\\n  --flag", output=["one", "  two"]),
        Line(command="curl -d '{\n}'", output=["three"]),
    ]


def test_bash_blocks_hold_commands_only() -> None:
    body = ["# first", "make train  # it's quick", "", "python -m a \\", "  --flag"]
    assert [line.command for line in command_lines(body, "bash")] == [
        "make train  # it's quick",
        "python -m a \\\n  --flag",
    ]


def test_markers_are_read() -> None:
    text = "<!-- run: a; background until: curl -sf x -->\n```bash\nserve\n```\n\n```console\n$ b\n```\n"
    first, second = parse(ROOT / "README.md", text)
    assert (first.kind, first.value, first.options) == ("run", "a", {"background until": "curl -sf x"})
    assert (second.kind, second.number) == ("", 6)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("    python -m vaecf.train\n", ["python -m vaecf.train"]),
        ("```sh\nmake train\n```\n", ["make train"]),
        ("```bash\nmake train\n```\n```text\npython -m a\n```\n", []),
        ("text\n\n    {a: b}\n", []),
    ],
)
def test_commands_outside_of_command_blocks_are_found(text: str, found: list[str]) -> None:
    assert stray_commands(text) == found
