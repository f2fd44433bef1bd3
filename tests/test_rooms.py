"""The rooms import one way only (docs/architecture.md), and the launchers' libraries in one file only."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("data_prep", "recsys_core", "vaecf", "ncf_tf", "serving", "horovod_launch", "benchmarks")
MAY_IMPORT = {
    "data_prep": {"data_prep"},
    "recsys_core": {"recsys_core"},
    "vaecf": {"vaecf", "recsys_core"},
    "ncf_tf": {"ncf_tf", "recsys_core"},
    "serving": {"serving", "recsys_core"},
    "horovod_launch": {"horovod_launch"},
    "benchmarks": set(ROOMS) - {"horovod_launch"},
}
FILES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_stands_before_it(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imported(path)} & set(ROOMS)
    assert ours <= MAY_IMPORT[room]


def test_every_package_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = {".".join(p.parent.relative_to(ROOT).parts) for p in FILES if p.name == "__init__.py"}
    assert set(setup["options"]["packages"].split()) == packages


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_hold_every_room(name: str) -> None:
    copied = {line.split()[1] for line in (ROOT / name).read_text().splitlines() if line.startswith("COPY")}
    assert set(ROOMS) <= copied


@pytest.mark.parametrize("library, homes", [
    ("horovod", {"recsys_core/distributed.py", "recsys_core/doctor.py"}),
    ("mpi4py", {"recsys_core/distributed.py", "data_prep/parallel.py"}),
])  # fmt: skip
def test_ranks_are_made_in_one_place(library: str, homes: set[str]) -> None:
    using = {str(p.relative_to(ROOT)) for p in FILES if library in {n.split(".")[0] for n in imported(p)}}
    assert using == homes


def test_the_launcher_needs_nothing_installed() -> None:
    import sys

    names = {n.split(".")[0] for p in (ROOT / "horovod_launch").glob("*.py") for n in imported(p)}
    assert names - set(sys.stdlib_module_names) == {"horovod_launch"}


def test_data_preparation_knows_no_tensorflow() -> None:
    names = {n.split(".")[0] for p in (ROOT / "data_prep").glob("*.py") for n in imported(p)}
    assert not names & {"tensorflow", "keras", "horovod"}
