"""The page in a real browser: typed, chosen by keyboard, read, moved and clicked; wide, on a phone, and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from serving.demo.served_model import ServedModel
from tests.serving.demo.conftest import TITLES
from tests.serving.demo.served_page import serving

playwright = pytest.importorskip("playwright.sync_api", reason="install the browser's driver: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium: sudo apt-get install -y chromium", allow_module_level=True)
PHONE = {"width": 360, "height": 740}
WIDE = {"width": 1280, "height": 900}
BAD_INPUT = "status of 400"
"""The browser writes such an answer to its console."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser: Any, page: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, opened. At the end: no error in its console, and no request that left this address."""
    context = browser.new_context(**{"viewport": WIDE, **getattr(request, "param", {})})
    opened = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(page)
    opened.wait_for_selector(".item")
    yield opened
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(page).netloc}
    assert len(asked) > 5 and [text for text in problems if BAD_INPUT not in text] == []
    context.close()


def _focus(tab: Any) -> str:
    """What the focus is on: its id, label or text."""
    script = "e => e.id || e.getAttribute('aria-label') || e.textContent"
    return str(tab.evaluate_handle("document.activeElement").evaluate(script)).strip()


def _settled(tab: Any) -> None:
    """Wait for the answers to what was last chosen (sliders wait for a moment before they ask)."""
    tab.wait_for_timeout(250)
    tab.wait_for_selector("#results:not([aria-busy])")


def _choose(tab: Any, text: str, *keys: str) -> None:
    tab.focus("#search")
    tab.keyboard.type(text)
    tab.wait_for_selector("#options [role=option]")
    for key in (*keys, "Enter"):
        tab.keyboard.press(key)
    _settled(tab)


def test_from_typing_to_reasons_by_keyboard_alone(tab: Any) -> None:
    assert "Most popular items" in tab.inner_text("#results")
    tab.keyboard.press("Tab")
    assert _focus(tab) == "Skip to the recommendations"
    tab.keyboard.press("Tab")
    assert _focus(tab) == "search"
    outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # the focus is seen
    tab.keyboard.type("toy story")
    tab.wait_for_selector("#options [role=option]")
    search = tab.locator("#search")
    assert search.get_attribute("aria-expanded") == "true"
    first = search.get_attribute("aria-activedescendant")
    tab.keyboard.press("ArrowDown")
    second = search.get_attribute("aria-activedescendant")
    assert first != second and tab.locator(f"#{second}").get_attribute("aria-selected") == "true"
    tab.keyboard.press("ArrowDown")  # the last one is followed by the first
    assert search.get_attribute("aria-activedescendant") == first
    wanted = tab.inner_text(f"#{first} .option-title")
    tab.keyboard.press("Enter")
    _settled(tab)
    assert tab.inner_text("#liked .chip span").split() == wanted.split()
    assert search.input_value() == "" and search.get_attribute("aria-expanded") == "false" and _focus(tab) == "search"
    assert tab.locator("#results .column").count() == 2  # two models side by side
    assert tab.locator("#results .column").first.locator(".item").count() == 10
    assert "Most popular" not in tab.inner_text("#results")
    reasons = tab.locator("#results .reasons")
    assert reasons.count() > 0 and wanted.split()[0] in reasons.first.inner_text() and "−" in reasons.first.inner_text()
    assert reasons.first.get_attribute("aria-label") == "Would score lower without"
    tab.keyboard.type("zzz")
    tab.wait_for_selector("#options .none")
    tab.keyboard.press("Escape")
    assert not tab.is_visible("#options")
    tab.keyboard.press("Escape")
    tab.keyboard.press("Backspace")  # removes the last one
    _settled(tab)
    assert tab.locator("#liked .chip").count() == 0 and "Most popular" in tab.inner_text("#results")


def test_sliders_and_switches(tab: Any) -> None:
    _choose(tab, "toy")
    first = tab.locator("#results .column").nth(1)
    before = first.locator(".item .title").all_inner_texts()
    tab.focus("#count")
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    _settled(tab)
    assert first.locator(".item").count() == 15 and tab.inner_text("#count-shown") == "15"
    tab.focus("#novelty")
    tab.keyboard.press("End")
    _settled(tab)
    after = first.locator(".item .title").all_inner_texts()
    assert tab.inner_text("#novelty-shown") == "1.00" and after[:10] != before
    assert {"only", "both"} & set(" ".join(e.get_attribute("class") for e in tab.locator(".tag").all()).split())
    tab.uncheck("#why")
    _settled(tab)
    assert tab.locator(".reasons").count() == 0
    tab.uncheck("#compare")
    _settled(tab)
    assert tab.locator("#results .column").count() == 1 and tab.locator(".tag").count() == 0
    tab.reload()  # what was chosen stands in the address
    tab.wait_for_selector("#liked .chip")
    _settled(tab)
    assert tab.locator("#results .item").count() == 15 and tab.inner_text("#novelty-shown") == "1.00"
    assert not tab.is_checked("#why") and not tab.is_checked("#compare")


def test_similar_items_and_the_card(tab: Any, page: str) -> None:
    _choose(tab, "toy")
    title = tab.locator("#results .column").first.locator("button.title").nth(2)
    name = title.inner_text()
    title.click()
    tab.wait_for_selector("dialog[open] .item")
    assert tab.inner_text("#dialog-title").startswith(f"Similar to {name.split()[0]}")
    assert tab.locator("dialog .item").count() == 10
    tab.keyboard.press("Escape")
    assert not tab.is_visible("dialog") and _focus(tab) == name.strip()
    title.click()
    tab.click("dialog .primary")
    _settled(tab)
    assert tab.locator("#liked .chip").count() == 2 and not tab.is_visible("dialog")
    tab.locator("button.card").first.click()
    assert "ndcg@100" in tab.inner_text("dialog table") and "0.2500" in tab.inner_text("dialog table")
    tab.click("#dialog-close")
    tab.locator("button.card").nth(1).click()
    card = tab.frame_locator("iframe.card-frame").locator("body")
    assert "Model card" in card.inner_text() and "0.2500" in card.inner_text()
    tab.click("#dialog-close")
    tab.locator("#liked .remove").first.click()
    tab.locator("#results .add").first.click()
    _settled(tab)
    assert tab.locator("#liked .chip").count() == 2
    tab.click("#clear")
    _settled(tab)
    assert tab.locator("#liked .chip").count() == 0


def test_titles_are_text(tab: Any) -> None:
    title = tab.title()
    _choose(tab, "img src")
    assert TITLES[2].removesuffix(" (2001)") in tab.inner_text("#liked .chip span")
    _choose(tab, "AMELIE")
    assert "Amélie" in tab.inner_text("#liked .chip:nth-child(2)")
    assert tab.locator("img").count() == 0 and tab.title() == title


def test_the_items_of_a_user(tab: Any) -> None:
    tab.fill("#user", "7")
    tab.keyboard.press("Enter")
    _settled(tab)
    assert tab.locator("#liked .chip").count() == 2 and tab.inner_text("#user-note") == "The latest 2 of 3 items"
    tab.fill("#user", "no one")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#user-note:has-text('expected a whole number')")


@pytest.mark.parametrize("tab", [{"viewport": PHONE, "has_touch": True, "is_mobile": True}], indirect=True)
def test_on_a_phone(tab: Any) -> None:
    _choose(tab, "toy")
    assert tab.evaluate("document.documentElement.scrollWidth") == 360  # nothing to scroll sideways
    boxes = [column.bounding_box() for column in tab.locator("#results .column").all()]
    assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]  # one below the other
    for button in tab.locator("button:visible").all():
        box = button.bounding_box()
        assert box["height"] >= 24 or "title" in button.get_attribute("class")
    tab.locator("button.title").first.tap()
    tab.wait_for_selector("dialog[open] .item")
    assert tab.locator("dialog").bounding_box()["width"] <= 360


@pytest.mark.parametrize("tab", [{"color_scheme": "dark"}], indirect=True)
def test_dark(tab: Any) -> None:
    _choose(tab, "toy")
    script = """(selector) => {
        const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((c) => {
            const v = c / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        const light = (text) => rgb(text).reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
        const e = document.querySelector(selector);
        const behind = (e) => { while (e) { const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$/.test(c)) return c; e = e.parentElement; } return "rgb(255,255,255)"; };
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
        return [(a + 0.05) / (b + 0.05), light(behind(e))]; }"""
    for selector in (
        *("h1", ".title", ".facts", ".hint", ".chip span", ".tag", ".took"),
        "button.card",
        ".by",
        ".legend",
    ):
        contrast, behind = tab.evaluate(script, selector)
        assert contrast >= 4.5 and behind < 0.1, (selector, contrast, behind)


def test_text_ids_and_no_titles(
    browser: Any, served_models: list[ServedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ServedModel("text ids", served_models[1].export, served_models[1]._engine)
    odd = ["<b>sku</b>", "sku 1&k=5#x", "säge/7", *(f"sku-{k}" for k in range(3, len(model.ids)))]
    monkeypatch.setattr(model, "ids", odd)
    monkeypatch.setattr(model, "index_of", {text: k for k, text in enumerate(odd)})
    monkeypatch.setitem(vars(model.export), "titles", [""] * len(odd))
    with serving([model]) as address:
        context = browser.new_context(viewport=WIDE)
        tab = context.new_page()
        tab.goto(address)
        tab.wait_for_selector(".item")
        for text, name in (("sku 1&k", "sku 1&k=5#x"), ("<b>", "<b>sku</b>"), ("sage", "säge/7")):
            _choose(tab, text)
            assert tab.locator("#liked .chip").last.inner_text().startswith(f"Item {name}")
        assert tab.locator("#results .item").count() == 10 and tab.locator(".problem").count() == 0
        tab.reload()
        tab.wait_for_selector("#liked .chip")
        assert tab.locator("#liked .chip").count() == 3 and not tab.is_visible("#user-form")
        context.close()


def test_a_model_card_is_shown_and_runs_nothing(browser: Any, page: str, folders: dict[str, Path]) -> None:
    card = folders["vae"] / "export" / "MODEL_CARD.html"
    card.write_text("<style>h1{color:rgb(1, 2, 3)}</style><h1>A card</h1><script>document.title = 'ran'</script>")
    try:
        tab = browser.new_context(viewport=WIDE).new_page()
        tab.goto(page)
        tab.wait_for_selector(".item")
        tab.locator("button.card").first.click()
        heading = tab.frame_locator("dialog iframe").locator("h1")
        assert heading.inner_text() == "A card"
        assert heading.evaluate("e => getComputedStyle(e).color") == "rgb(1, 2, 3)"
        assert heading.evaluate("e => e.ownerDocument.title") == ""
        tab.context.close()
    finally:
        card.unlink()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_rules_of_accessibility(browser: Any, page: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    context = browser.new_context(
        viewport=WIDE, color_scheme=scheme, bypass_csp=True
    )  # the rules are put into the page
    tab = context.new_page()
    tab.goto(page)
    tab.wait_for_selector(".item")
    _choose(tab, "toy")
    _require_none(axe, tab)
    tab.focus("#search")
    tab.keyboard.type("toy")
    tab.wait_for_selector("#options [role=option]")
    _require_none(axe, tab)
    tab.keyboard.press("Escape")
    tab.click("button.title >> nth=0")
    tab.wait_for_selector("dialog[open] .item")
    _require_none(axe, tab)
    context.close()


def _require_none(axe: Any, tab: Any) -> None:
    violations = axe.Axe().run(tab).response["violations"]
    assert not violations, [(rule["id"], rule["nodes"][0]["html"]) for rule in violations]
