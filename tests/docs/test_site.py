"""The site builds strictly, its pages ask no other host for anything, and every page is in the navigation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import build, example_pages, glossary_links
from tests.conftest import ROOT

LOADED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
"""Tag -> its attribute that a browser loads when it opens the page."""
NOT_LOADED = {"canonical", "prev", "next", "alternate", "edit"}
"""Kinds of <link> that a browser does not load."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the build fails on a warning."""
    folder = tmp_path_factory.mktemp("site") / "site"
    build.build(folder)
    return folder


class _Loaded(HTMLParser):
    """Collects the addresses that a browser loads with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        address = values.get(LOADED.get(tag, ""))
        if address and not (tag == "link" and NOT_LOADED & set((values.get("rel") or "").split())):
            self.found.append(address)


def loaded_by(html: str) -> list[str]:
    """Addresses on other hosts that a browser loads with a page."""
    parser = _Loaded()
    parser.feed(html)
    return [address for address in parser.found if re.match(r"(https?:)?//", address)]


def _nav_pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav if isinstance(nav, list) else nav.values():
            yield from _nav_pages(entry)


@pytest.mark.slow
def test_pages_ask_no_other_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    assert {str(page.relative_to(site)): found for page in pages if (found := loaded_by(page.read_text()))} == {}
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


@pytest.mark.slow
def test_every_page_is_built_and_has_the_flags_of_the_commands(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name).is_file(), name
    flags = (site / "reference" / "flags.html").read_text()
    for text in ("--run-dir", "usage: python -m vaecf.train", "usage: python -m serving triton build"):
        assert text in flags
    assert str(ROOT) not in flags
    api = (site / "reference" / "api.html").read_text()
    for name in ("recsys_core.dataset.Dataset.from_frame", "recsys_core.training.trainer.Trainer.fit"):
        assert f'id="{name}"' in api
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()


def test_every_page_is_in_the_navigation() -> None:
    named = set(_nav_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert named == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}


def test_addresses_on_other_hosts_are_found() -> None:
    loaded = '<script src="https://a.org/x.js"></script><link rel="stylesheet" href="//c.org/c.css">'
    others = '<a href="https://b.org">b</a><img src="img/curves.png"><link rel="canonical" href="https://d.org">'
    assert loaded_by(loaded + others) == ["https://a.org/x.js", "//c.org/c.css"]


def test_a_page_is_expanded() -> None:
    page = "<!-- help: data_prep -->\n[a model](../examples/own_model.py) [`README.md`](../README.md#results) [x](../examples.md)\n"  # noqa: E501
    expected = "```text\nusage\n```\na model (`examples/own_model.py`) `README.md` [x](../examples.md)\n"
    assert build.expand(page, {"data_prep": "usage"}) == expected
    with pytest.raises(build.BuildError, match="no help of 'serving fly', known are: data_prep"):
        build.expand("<!-- help: serving fly -->", {"data_prep": "usage"})


def test_the_first_use_of_a_term_is_linked() -> None:
    forms = glossary_links.terms("### Fold-in\n<!-- also: shown items -->\nText.\n\n### Gate\n\nText.\n")
    assert forms == {"fold-in": "fold-in", "shown items": "fold-in", "gate": "gate"}
    start = "# The gate\n\nA `gate`, a [gate](x.md), "
    page = start + "a gate, a gate.\n\n    gate\n\n```\ngate\n```\nShown items and fold-in.\n"
    assert glossary_links.linked(page, forms, "glossary.md") == start + (
        "a [gate](glossary.md#gate), a gate.\n\n    gate\n\n```\ngate\n```\n"
        "[Shown items](glossary.md#fold-in) and fold-in.\n"
    )


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    notebook = tmp_path / "first.ipynb"
    text = ["# Title\n", "[a](README.md) [b.ipynb](b.ipynb) [c](../docs/data.md#x) [d](d.py)"]
    picture = {"image/png": "iVBORw0KGgo=", "text/plain": "x"}
    cells = [
        {"cell_type": "markdown", "source": text},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": "2"}}]},
        {"cell_type": "code", "source": "plot()", "outputs": [{"data": picture}]},
    ]
    notebook.write_text(json.dumps({"cells": cells}))
    assert example_pages.title_of(notebook) == "Title"
    assert example_pages.notebook_page(notebook, tmp_path) == (
        "# Title\n[a](../examples.md) [b](../notebooks/b.md) [c](../data.md#x) d (`examples/d.py`)\n\n"
        "````python\n1 + 1\n````\n\n````text\n2\n````\n\n````python\nplot()\n````\n\n"
        "![output of the cell above](first-2-0.png)\n"
    )
    assert (tmp_path / "first-2-0.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
