"""Figures of speech and aphorisms stay out of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import PAGES
from tests.docs.test_commands import UNMARKED

FORBIDDEN = (
    "at hand",
    "behind the scenes",
    "bells and whistles",
    "blazing",
    "flatter",
    "heavy lifting",
    "honest",
    "low-hanging",
    "magic",
    "out of the box",
    "silver bullet",
    "tells the story",
    "to the end",
    "trust ratios",
    "under the hood",
    "whatever",
    "whoever",
)
PATTERN = re.compile(rf"\b({'|'.join(FORBIDDEN)})\w*", re.IGNORECASE)


@pytest.mark.parametrize(
    "page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES if p.name not in UNMARKED]
)
def test_pages_are_literal(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    assert not [match[0] for match in PATTERN.finditer(text)]
