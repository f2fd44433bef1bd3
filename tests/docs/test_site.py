"""The site is built strictly, asks no other host for anything, and links terms to the glossary."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from docs import build as site_build
from docs.example_pages import notebook_page, site_links
from docs.glossary_links import linked, terms
from docs.help_texts import names
from tests.conftest import ROOT

EXTERNAL = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//|<link\b[^>]*\bhref=[\"']?(?:https?:)?//"
)
STYLES = re.compile(r"@import\s+[\"'(]|url\([\"']?(?:https?:)?//")
GLOSSARY = "# Glossary\n\n### Gate\n\nA condition.\n\n### Fold-in\n<!-- also: fold-out -->\n\nItems.\n"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it; a broken link or an unreadable docstring is an error."""
    folder = tmp_path_factory.mktemp("site") / "site"
    site_build.build(folder)
    return folder


@pytest.mark.timeout(180)
def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = [
        p if isinstance(p, str) else next(iter(p.values()))
        for part in settings["nav"]
        for p in next(iter(part.values()))
    ]
    assert "reference/api.md" in pages
    for page in pages:
        assert (site / page).with_suffix(".html").is_file(), page
    on_disk = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    assert on_disk == set(pages), "every page is in the navigation of mkdocs.yml"


def test_pages_ask_no_other_host_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not EXTERNAL.search(page.read_text()), page
    for style in site.rglob("*.css"):
        assert not STYLES.search(style.read_text()), style


def test_flags_are_those_of_the_commands(site: Path) -> None:
    text = (site / "reference/flags.html").read_text()
    source = (ROOT / "docs/reference/flags.md").read_text()
    assert re.findall(r"<!-- help: (.+) -->", source) == names()
    assert "--run-dir" in text and "--held-out-users" in text


def test_the_reference_holds_the_docstrings(site: Path) -> None:
    text = (site / "reference/api.html").read_text()
    for name in (
        "recsys_core.dataset.Dataset.from_frame",
        "recsys_core.training.trainer.Trainer.fit",
        "vaecf.model.MultVae",
    ):
        assert f'id="{name}"' in text


def test_first_uses_of_terms_are_linked(site: Path) -> None:
    assert 'href="glossary.html#gate"' in (site / "training.html").read_text()
    assert 'href="../glossary.html#checkpoint"' in (site / "reference/files.html").read_text()


def test_notebooks_are_pages(site: Path) -> None:
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        assert (site / "notebooks" / notebook.stem).with_suffix(".html").is_file()


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("The gate and the gate.", "The [gate](g.md#gate) and the gate."),
        ("Fold-out, then fold-in.", "[Fold-out](g.md#fold-in), then fold-in."),
        ("`gate` and [gate](x.md) stay; a gate not.", "`gate` and [gate](x.md) stay; a [gate](g.md#gate) not."),
        ("# Gate\n\ngateway, --gate, gate@10", "# Gate\n\ngateway, --gate, gate@10"),
        ("```text\ngate\n```\ngate", "```text\ngate\n```\n[gate](g.md#gate)"),
        ("    gate\n<!-- gate -->", "    gate\n<!-- gate -->"),
    ],
)
def test_links_to_the_glossary(page: str, expected: str) -> None:
    assert linked(page, terms(GLOSSARY), "g.md") == expected + "\n"


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    output = {"output_type": "display_data", "data": {"image/png": "aGk=", "text/plain": "x"}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "see [data](../docs/data.md)"]},
        {
            "cell_type": "code",
            "source": "1 + 1",
            "outputs": [{"output_type": "execute_result", "data": {"text/plain": "2"}}],
        },
        {"cell_type": "code", "source": "draw()", "outputs": [output]},
    ]
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    assert notebook_page(notebook, tmp_path) == (
        "# Title\nsee [data](../data.md)\n\n````python\n1 + 1\n````\n\n````text\n2\n````\n\n"
        "````python\ndraw()\n````\n\n![output of the cell above](a-2-0.png)\n"
    )
    assert (tmp_path / "a-2-0.png").read_bytes() == b"hi"


def test_links_of_notebooks() -> None:
    text = "[a](README.md), [b](other.ipynb), [c.py](c.py), [d](../docs/data.md#x)"
    assert site_links(text) == "[a](../examples.md), [b](other.md), `examples/c.py`, [d](../data.md#x)"


def test_a_broken_link_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = site_build._write_pages

    def with_fault(stage: Path) -> list[tuple[str, Path]]:
        notebooks = write(stage)
        (stage / "data.md").write_text("# Data\n\n[nothing](nowhere.md)\n")
        return notebooks

    monkeypatch.setattr(site_build, "_write_pages", with_fault)
    with pytest.raises(site_build.BuildError, match="page does not exist"):
        site_build.build(tmp_path / "site")


def test_help_of_an_unknown_command_fails_the_build() -> None:
    with pytest.raises(site_build.BuildError, match="no help of 'nothing', known are: a"):
        site_build.expand("<!-- help: nothing -->", {"a": "b"}, [])
