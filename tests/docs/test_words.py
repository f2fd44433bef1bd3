"""Plain words: figures of speech and slogans that the pages and public docstrings do not use; the README's length."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import FENCE

README_LINES = 120
PACKAGES = (
    "data_prep",
    "recsys_core",
    "vaecf",
    "ncf_tf",
    "serving",
    "horovod_launch",
    "benchmarks",
    "load_study",
    "docs",
)
NOT_USED = (
    "at the end of the day",
    "at its heart",
    "battle-tested",
    "blazing",
    "blazingly",
    "bells and whistles",
    "best of both worlds",
    "conduct",
    "cutting-edge",
    "effortless",
    "effortlessly",
    "elegant",
    "first-class",
    "game changer",
    "heart of",
    "honest",
    "in a nutshell",
    "just works",
    "lightning-fast",
    "magic",
    "magical",
    "out of the box",
    "powerful",
    "rock-solid",
    "seamless",
    "seamlessly",
    "silver bullet",
    "simply",
    "state-of-the-art",
    "story",
    "supercharge",
    "swiss army knife",
    "the devil is in",
    "under the hood",
    "world-class",
)
"""Words and phrases, in lower case, as whole words."""
PATTERN = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, NOT_USED))})(?![\w-])", re.IGNORECASE)
ALLOWED = re.compile(r"Toy Story|toy-story|Toy Stor\w*|West Side Story")
"""Titles of films."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def found_in(text: str) -> list[str]:
    """The words of a text that are not used."""
    return [match[0].lower() for match in PATTERN.finditer(ALLOWED.sub("", text))]


def prose_of(page: str) -> str:
    """A page without its code, in lines and in blocks."""
    kept, fenced = [], False
    for line in page.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            kept.append(re.sub(r"`[^`]*`", "", line))
    return " ".join(kept)


def docstrings_of(source: str) -> list[tuple[str, str]]:
    """Name and docstring of a module and of its public classes and functions; attributes' docstrings included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        name = getattr(node, "name", "the module")
        if not name.startswith("_") or name == "__init__":
            found.append((name, ast.get_docstring(node) or ""))
            found += [(name, text.value) for text in _attribute_docstrings(node)]
    return found


def _attribute_docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> list[ast.Constant]:
    values = [part.value for part in node.body[1:] if isinstance(part, ast.Expr)]
    return [value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_use_plain_words(page: Path) -> None:
    assert found_in(prose_of(page.read_text())) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_use_plain_words(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}, {name}: {', '.join(words)}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name, text in docstrings_of(path.read_text())
        if (words := found_in(text))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES


def test_words_are_found_in_prose_and_not_in_code_or_titles() -> None:
    page = "It is\nsimply `magic`.\n\n    seamless code\n\n```bash\npowerful\n```\nToy Story is a film.\n"
    assert found_in(prose_of(page)) == ["simply"]
    source = '"""A story."""\n\nclass A:\n    """Plain."""\n\n    x: int = 1\n    """Under the hood."""\n'
    assert [word for _, text in docstrings_of(source) for word in found_in(text)] == ["story", "under the hood"]
