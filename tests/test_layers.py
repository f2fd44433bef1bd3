"""The order of the packages (docs/architecture.md), modules without cycles, and libraries that few files may import."""

from __future__ import annotations

import ast
import configparser
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "data_prep": {"data_prep"},
    "recsys_core": {"recsys_core", "data_prep"},
    "vaecf": {"vaecf", "recsys_core"},
    "ncf_tf": {"ncf_tf", "recsys_core"},
    "serving": {"serving", "recsys_core"},
    "horovod_launch": {"horovod_launch"},
    "benchmarks": {"benchmarks", "data_prep", "recsys_core", "vaecf", "ncf_tf", "serving"},
    "load_study": {"load_study", "recsys_core", "serving"},
}
PACKAGES = tuple(MAY_IMPORT)
FILES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
CORE_ORDER = ("measuring", "input", "baselines", "evaluation", "training", "tuning")
"""Subpackages of recsys_core: each imports only those before it."""


def imported(path: Path) -> set[str]:
    """Names of all modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements below a node, those inside functions too, but not those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for statement in child.orelse:
                yield from _imports(ast.Module(body=[statement], type_ignores=[]))
        else:
            yield from _imports(child)


def dependencies(source: str, name: str, known: set[str]) -> set[str]:
    """The known modules that the source of module `name` imports.

    `from package import submodule` imports the submodule; it counts the package's __init__ only if it takes a name
    that is not a submodule.
    """
    found = set()
    for node in _imports(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            parents = name.split(".")[: -node.level]
            base = ".".join([*parents, *([node.module] if node.module else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            found.add(submodule if submodule in known else base)
    return (found & known) - {name}


@cache
def module_graph() -> Mapping[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES}
    known = set(names.values())
    return {name: dependencies(path.read_text(), name, known) for path, name in names.items()}


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one cycle, the first of them again at the end; empty if there is none."""
    finished: set[str] = set()
    for start in sorted(graph):
        path: list[str] = []
        stack = [(start, iter(sorted(graph[start])))] if start not in finished else []
        while stack:
            name, rest = stack[-1]
            if len(path) < len(stack):
                path.append(name)
            following = next((n for n in rest if n not in finished), None)
            if following is None:
                finished.add(name)
                path.pop()
                stack.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            else:
                stack.append((following, iter(sorted(graph[following]))))
    return []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_imports_only_those_before_it(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imported(path)} & set(PACKAGES)
    assert ours <= MAY_IMPORT[package]


@pytest.mark.parametrize("package", ["benchmarks", "load_study"])
def test_no_other_package_imports_a_measurement(package: str) -> None:
    assert [name for name, allowed in MAY_IMPORT.items() if package in allowed] == [package]


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_have_no_cycle(package: str) -> None:
    graph = {name: found for name, found in module_graph().items() if name.split(".")[0] == package}
    inside = {name: {n for n in found if n in graph} for name, found in graph.items()}
    cycle = find_cycle(inside)
    assert not cycle, " -> ".join(cycle)


def test_nobody_imports_a_command() -> None:
    assert not [(name, m) for name, found in module_graph().items() for m in found if m.endswith(".__main__")]


@pytest.mark.parametrize("name", CORE_ORDER)
def test_the_core_imports_one_way(name: str) -> None:
    """Directly, or through modules that belong to no subpackage. A command may use all, as nobody imports it."""
    graph, found = module_graph(), set()
    own = [module for module in graph if module.startswith(f"recsys_core.{name}.")]
    pending = [module for module in own if not module.endswith(".__main__")]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += [m for m in graph[module] if m.startswith("recsys_core.")]
    reached = {module.split(".")[1] for module in found} & set(CORE_ORDER)
    assert reached <= set(CORE_ORDER[: CORE_ORDER.index(name) + 1])


def test_a_cycle_is_found_with_its_path() -> None:
    graph = {"p": {"p.c"}, "p.a": {"p.b"}, "p.b": {"p.d", "p.c"}, "p.c": {"p.a"}, "p.d": set()}
    assert find_cycle(graph) == ["p.c", "p.a", "p.b", "p.c"]
    assert find_cycle(graph | {"p.b": {"p.d"}}) == []
    assert find_cycle({"p.a": {"p.b"}, "p.b": {"p.a"}}) == ["p.a", "p.b", "p.a"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import p.b", {"p.b"}),
        ("from p import b", {"p.b"}),
        ("from p import value", {"p"}),
        ("from p.b import value", {"p.b"}),
        ("def f():\n    from p import b", {"p.b"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import b", set()),
        ("if TYPE_CHECKING:\n    from p import b\nelse:\n    import p.c", {"p.c"}),
        ("from . import b", {"p.b"}),
        ("from .c import value", {"p.c"}),
        ("import numpy", set()),
    ],
)
def test_imports_of_a_module(source: str, expected: set[str]) -> None:
    assert dependencies(source, "p.a", {"p", "p.a", "p.b", "p.c"}) == expected


def test_every_package_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = {".".join(p.parent.relative_to(ROOT).parts) for p in FILES if p.name == "__init__.py"}
    assert set(setup["options"]["packages"].split()) == packages


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_their_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_hold_every_package(name: str) -> None:
    copied = {line.split()[1] for line in (ROOT / name).read_text().splitlines() if line.startswith("COPY")}
    assert set(PACKAGES) <= copied


@pytest.mark.parametrize("library, homes", [
    ("horovod", {"recsys_core/world.py", "recsys_core/doctor.py"}),
    ("mpi4py", {"recsys_core/world.py", "data_prep/parallel.py"}),
])  # fmt: skip
def test_few_files_import_the_launchers_libraries(library: str, homes: set[str]) -> None:
    using = {str(p.relative_to(ROOT)) for p in FILES if library in {n.split(".")[0] for n in imported(p)}}
    assert using == homes


def test_the_launcher_needs_nothing_installed() -> None:
    names = {n.split(".")[0] for p in (ROOT / "horovod_launch").glob("*.py") for n in imported(p)}
    assert names - set(sys.stdlib_module_names) == {"horovod_launch"}


@pytest.mark.parametrize("folder", ["data_prep", "recsys_core/measuring"])
def test_no_tensorflow_in(folder: str) -> None:
    names = {n.split(".")[0] for p in (ROOT / folder).rglob("*.py") for n in imported(p)}
    assert not names & {"tensorflow", "keras", "horovod"}
