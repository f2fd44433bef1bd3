"""The model card of an export: what it states, as Markdown and as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from recsys_core.model_card import card, facts
from recsys_core.model_card.__main__ import main

EXPORT: dict[str, Any] = {
    "model": {"package": "vaecf", "hidden": [600], "activation": "tanh"},
    "signatures": {"serving": {"inputs": {"item_ids": {}}}},
    "history_limits": {"serving": None, "serving_no_scatter": 924},
    "n_items": 5_933,
    "top_k": 100,
    "data_set": "487ed214",
    "users": {"exported": False},
}


def _evaluation(ndcg: float, error: float | None) -> dict[str, Any]:
    return {"metrics": {"ndcg@100": {"mean": ndcg, "standard_error": error}}, "users": 60, "users_without_relevant": 2}


RESULT: dict[str, Any] = {
    "test": _evaluation(0.34, 0.01),
    "validation": _evaluation(0.35, None),
    "baselines": {"popularity": {"test": _evaluation(0.2, 0.02), "validation": _evaluation(0.21, 0.02)}},
    "gate": {
        "passed": True,
        "conditions": [{"condition": "ndcg@100>0.3", "reached": 0.35, "wanted": 0.3, "passed": True}],
        "chosen_on_same_users": True,
    },
}
MANIFEST: dict[str, Any] = {
    "source": {"files": ["a|b_c<script>.csv"], "sha256": "80da"},
    "parameters": {"name": "ml-latest-small", "protocol": "default", "threshold": 3.5},
    "counts": {"events": 48_562, "train_users": 483},
    "times": {"first": 828124615, "last": 1537799250, "unit": "s"},
}


class _Tables(HTMLParser):
    """Cells of all tables, headings, and addresses that a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.headings: list[str] = []
        self.loaded: list[str] = []
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href") and tag != "a"]

    def handle_endtag(self, tag: str) -> None:
        self._within.remove(tag)

    def handle_data(self, data: str) -> None:
        if "td" in self._within or "th" in self._within:
            self.cells.append(data)
        if self._within[-1:] in (["h1"], ["h2"]):
            self.headings.append(data)


def test_the_page_states_what_the_run_measured() -> None:
    page = _Tables(card.as_html(card.as_markdown(EXPORT, RESULT, MANIFEST)))
    assert page.headings == [
        "Model card: vaecf on ml-latest-small",
        *("Model", "Data", "Protocol", "Test", "Validation", "Limits", "Use", "Versions"),
    ]
    for text in (
        "0.3400 (0.3204 to 0.3596)",
        "0.2000 (0.1608 to 0.2392)",
        "popularity",
        "48,562",
        "1996-03-29",
        "ratings above 3.5",
        "research use, no redistribution without permission (README of the archive)",
        "a|b_c<script>.csv",
        "[600]",
    ):
        assert text in page.cells, page.cells
    assert page.loaded == []


def test_limits_name_what_the_model_cannot_do() -> None:
    text = card.as_markdown(EXPORT, RESULT, MANIFEST)
    assert "`serving_no_scatter` takes histories of up to 924 items." in text
    assert "needs at least one known item" in text and "holds no ids and no histories of users" in text
    of_users = {**EXPORT, "signatures": {"serving": {"inputs": {"item_ids": {}, "user_ids": {}}}}}
    assert "ranks for its training users only" in card.as_markdown(of_users, RESULT, MANIFEST)
    assert "ndcg@100>0.3: passed, 0.3500 reached, 0.3000 wanted" in text
    assert "means over 60 users; 2 with nothing to find are left out" in text


def test_a_final_fit_has_the_figures_of_its_run() -> None:
    final = {"judged_run": RESULT, "gate": {}}
    text = card.as_markdown(EXPORT, final, {})
    assert "0.3400 (0.3204 to 0.3596)" in text and "trained on all users" in text
    assert "| data set | a table in memory |" in text and "ask the owner of the data" in text


def test_intervals() -> None:
    assert facts.interval({"mean": 0.5, "standard_error": 0.1}) == "0.5000 (0.3040 to 0.6960)"
    assert facts.interval({"mean": 0.5, "standard_error": None}) == "0.5000"
    assert facts.interval({"mean": None}) == "not a number"


def test_the_command_writes_the_card_of_an_older_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "export.json").write_text(json.dumps(EXPORT))
    assert main([str(tmp_path)]) == 2 and "result.json does not exist" in capsys.readouterr().err
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    assert main([str(tmp_path)]) == 0
    written, page = ((tmp_path / "export" / name).read_text() for name in (card.MARKDOWN, card.HTML))
    assert page == card.as_html(written)
    assert "--data names it" in capsys.readouterr().err


def test_what_was_not_measured_is_said() -> None:
    """`write_export` takes results without metrics; the card ended in a KeyError."""
    export = {"model": {"package": "vaecf"}, "data_set": "1", "n_items": 3, "top_k": 2, "signatures": {}}
    text = card.as_markdown(export, {"validation": {}, "test": {}}, {})
    assert "## Test\n\nNot measured." in text and "## Validation\n\nNot measured." in text
    assert "Test: not measured." in text
