"""Takes the pictures of the page for the docs: python -m tests.serving.demo.pictures ADDRESS FOLDER [TITLE ...]."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
COLOURS = 64
"""Of each picture, so that the files are small."""
PICTURES: dict[str, dict[str, Any]] = {
    "demo-wide": {"viewport": WIDE},
    "demo-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "demo-phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
    "demo-similar": {"viewport": WIDE},
}


def choose(tab: Any, titles: list[str]) -> None:
    """Type each title and take the first item."""
    for title in titles:
        tab.fill("#search", title)
        tab.wait_for_selector("#options [role=option]")
        tab.press("#search", "Enter")
    tab.wait_for_timeout(400)
    tab.wait_for_selector("#results:not([aria-busy])")


def main(address: str, folder: Path, titles: list[str]) -> None:
    """Write one file for each of PICTURES."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        for name, settings in PICTURES.items():
            tab = browser.new_context(**settings).new_page()
            tab.goto(address)
            tab.wait_for_selector(".item")
            choose(tab, titles)
            if name == "demo-similar":
                tab.click("button.title >> nth=0")
                tab.wait_for_selector("dialog .item")
            elif name == "demo-phone":
                tab.evaluate("document.querySelector('#results').scrollIntoView()")
            tab.evaluate("document.activeElement.blur()")
            tab.wait_for_timeout(300)
            path = folder / f"{name}.png"
            tab.screenshot(path=path)
            Image.open(path).quantize(COLOURS).save(path, optimize=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
