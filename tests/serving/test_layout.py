"""The modules of `serving` import in one direction, and the parser is built without slow libraries."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

import serving

PACKAGE = Path(serving.__file__).parent
ORDER = (
    *("command_help", "progress", "ids", "held_out", "data_set", "export_folder", "targets"),
    *("histories", "engines", "convert", "infer"),
    *("reasons", "recommend", "batch", "similar", "demo"),
    *("triton", "release", "__main__"),
)
"""As in the docstring of `serving`."""
SLOW = ("tensorflow", "keras", "onnx", "onnxruntime", "pandas", "tritonclient", "google.protobuf", "tabulate")


def _modules() -> dict[str, Path]:
    """Dotted name below `serving` -> file."""
    files = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"]
    return {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in files}


MODULES = _modules()


def _imports(path: Path) -> set[str]:
    """Modules of `serving` that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "serving":
            base = node.module.removeprefix("serving").removeprefix(".")
            for alias in node.names:
                name = f"{base}.{alias.name}" if base else alias.name
                found.add(name if name in MODULES else base)
    return found


def test_the_order_is_documented() -> None:
    places = [str(serving.__doc__).index(f"\n    {name}") for name in ORDER[:-1]]
    assert places == sorted(places)
    assert {name.split(".")[0] for name in MODULES} == set(ORDER)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_before_it(name: str) -> None:
    own = name.split(".")[0]
    for imported in _imports(MODULES[name]):
        assert imported in MODULES, f"{name} imports {imported}"
        assert ORDER.index(imported.split(".")[0]) <= ORDER.index(own), f"{name} imports {imported}"


def test_no_cycle_of_modules() -> None:
    waiting = {name: _imports(path) for name, path in MODULES.items()}
    while ready := {name for name, imports in waiting.items() if not imports & waiting.keys()}:
        waiting = {name: imports for name, imports in waiting.items() if name not in ready}
    assert not waiting


def test_the_parser_is_built_without_slow_libraries(command: Any) -> None:
    program = (
        "import sys; from serving.__main__ import build_parser; build_parser(); "
        f"print([name for name in {SLOW} if name in sys.modules])"
    )
    done = command([sys.executable, "-c", program])
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
