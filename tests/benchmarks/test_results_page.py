"""The HTML page of the committed results: its first screen, its charts, and that it needs nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.pages import web
from benchmarks.pages.charts import charts
from benchmarks.pages.committed import ROOT
from benchmarks.pages.render import Headline, Renderer
from recsys_core.measuring.drawing import NARROW, WIDE
from tests import pictures

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def page() -> str:
    return web.as_html(ROOT)


def test_the_page_needs_nothing_else_and_is_the_same_twice(page: str) -> None:
    assert web.as_html(ROOT) == page
    assert re.findall(r"<(?:script|link)\b|src=\"(?!data:)|href=\"(?!https?://|#)[^\"]*\.md", page) == []
    assert page.count("<table>") == len(re.findall(r"<div class=scroll [^>]*><table>", page))
    tables = (ROOT / "results" / "page.md").read_text().count("{{ table(")
    assert page.count("<details") == tables, "each table says how it was made"


def test_the_main_figures_come_first(page: str) -> None:
    places = [
        page.index(mark) for mark in ("<h1>", "How good", "How fast", "Serving", "Machine:", "<h2>Charts", "<table>")
    ]
    assert places == sorted(places)
    assert all(one.ours.split()[0] in page[: places[4]] for one in Renderer(ROOT).headlines())


def test_a_headline_is_text() -> None:
    found = web.front([Headline(group="a", what="`x` & y", ours="<1", beside="")], "remark")
    assert "<b>&lt;1</b><code>x</code> &amp; y</div>" in found and "remark" in found


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_charts_have_units_intervals_and_room(width: float) -> None:
    renderer = Renderer(ROOT)
    for title, plot in charts(renderer.filler, renderer.layouts).items():
        figure = plot.draw([], width)
        assert figure is not None, title
        pictures.assert_units(figure)
        pictures.assert_intervals(figure, without=("published by others",))
        pictures.assert_room(figure, width)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here")
@pytest.mark.slow
def test_in_a_browser_nothing_is_wider_than_the_window(page: str, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    (tmp_path / "page.html").write_text(page)
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for width, height in ((1280, 800), (390, 844)):
            opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark")
            opened.goto((tmp_path / "page.html").as_uri())
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            if width > height:
                assert opened.evaluate("document.querySelector('h2').getBoundingClientRect().top") < height
            text = "getComputedStyle(document.querySelector('figure svg text')).fill"
            assert opened.evaluate(text) == opened.evaluate("getComputedStyle(document.body).color")
        browser.close()
