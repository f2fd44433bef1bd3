"""The pages that are made from committed records: docs/results.md from its template, tables of other pages in place.

`results/page.md` is a Jinja template. It and `results/headlines.yaml` hold no measured figure; these call

    {{ table("vae-step") }}                                            a table of tables.yaml, with its commands
    {{ figure("training/vae-step", "users_per_second ,.0f", batch_size=500, precision="fp32") }}
    {{ published("case-study", "overall .1f") }}                       a figure that others published
    {{ machine }}, {{ counts.records }}, {{ counts.transcribed }}

Other pages hold tables between two comments, of records or of published figures, and this writes what stands between
them:

    <!-- results: vae-step -->
    <!-- end of results -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.pages import layout, markdown
from benchmarks.pages.cells import Filled, Filler
from benchmarks.pages.committed import read_all
from benchmarks.pages.values import at, shown, spec
from recsys_core.measuring.page import machine_text
from recsys_core.measuring.records import TRANSCRIBED, Record

if TYPE_CHECKING:
    from jinja2 import Environment

HEADLINES = "headlines"
NOT_MEASURED = "As published, each with the settings of its source; **none of them was measured by us**."
"""Below a table of figures of others."""
MARKED = re.compile(r"^(<!-- results: (?P<name>[\w-]+) -->\n).*?^(<!-- end of results -->)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the main figures."""

    group: str
    """"How good", "How fast" and so on."""
    what: str
    ours: str
    beside: str


class Renderer:
    """Writes the pages of a repository.

    Args:
        root: the repository; `results/` is in it.
        with_notes: how a table and the notes below it are put together.
    """

    def __init__(self, root: Path, with_notes: str = "{table}\n\n{notes}") -> None:
        self.root, self.folder, self.with_notes = root, root / "results", with_notes
        self.committed = read_all(self.folder)
        self.layouts, self.published = layout.tables(self.folder), layout.published(self.folder)
        self.filler = Filler(self.committed, self.published)
        self.usual = markdown.usual_machine(self.committed.records)
        self._used: dict[int, Record] = {}

    def filled(self, name: str) -> Filled:
        """A table with its text.

        Raises:
            ValueError: tables.yaml has no such table.
        """
        if name not in self.layouts:
            raise ValueError(f"tables.yaml has no table {name!r}, known are: {', '.join(self.layouts)}")
        return self.filler.fill(self.layouts[name])

    def table(self, name: str) -> str:
        """A table with its commands, and when and where it was measured."""
        filled = self.filled(name)
        notes = NOT_MEASURED if self.layouts[name].others else markdown.notes(filled, self.usual)
        return self.with_notes.format(table=markdown.table(filled), notes=notes)

    def figure(self, group: str, how: str, **key: Any) -> str:
        """One figure of the row that has the given fields.

        Raises:
            ValueError: no row, or several, or a row without the figure.
        """
        rows = [row for row in self.committed.rows(group, list(key)) if all(
            at(row.values, name) == value for name, value in key.items())]  # fmt: skip
        text = rows[0].text(spec(how)) if len(rows) == 1 else ""
        if text:
            record = rows[0].source(spec(how))
            self._used[id(record)] = record or {}
        else:
            raise ValueError(f"the records of {group} with {key} have no figure {how!r}")
        return text

    def published_figure(self, name: str, how: str) -> str:
        """One figure that others published.

        Raises:
            ValueError: published.yaml has no such figure.
        """
        one = self.published.get(name)
        text = shown(one.values.get(spec(how).path), spec(how)) if one else ""
        if not text:
            raise ValueError(f"published.yaml has no figure {how!r} of {name!r}")
        return text

    @cached_property
    def shown_records(self) -> list[Record]:
        """The records that some table shows, each once."""
        return self.records_of(list(self.layouts))

    def records_of(self, names: Sequence[str]) -> list[Record]:
        """The records that some of these tables show, each once."""
        found = {id(record): record for name in names for record in self.filled(name).records}
        return list(found.values())

    def left(self) -> dict[str, int]:
        """Table -> how many of its records were measured before records were kept; tables with none are left out."""
        found = {name: len(self.filled(name).transcribed) for name in self.layouts}
        return {name: count for name, count in found.items() if count}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Records that tables show, and how many of them were measured before records were kept; their figures."""
        old = [record for record in self.shown_records if TRANSCRIBED in record]
        figures = [sum(len(r["fields"]) for r in records) for records in (self.shown_records, old)]
        return {
            "records": len(self.shown_records),
            "transcribed": len(old),
            "figures": figures[0],
            "transcribed_figures": figures[1],
        }

    @cached_property
    def environment(self) -> Environment:
        """Jinja with the functions of a template.

        Raises:
            ValueError: Jinja is not installed.
        """
        try:
            import jinja2
        except ImportError:
            raise ValueError("pages are made with Jinja, which is not installed: pip install -e '.[docs]'") from None
        found = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
        found.globals.update(
            table=self.table,
            figure=self.figure,
            published=self.published_figure,
            machine=machine_text(self.usual),
            counts=self.counts,
        )
        return found

    def headlines(self) -> list[Headline]:
        """The main figures, as `results/headlines.yaml` lists them."""
        entries: Sequence[Mapping[str, str]] = yaml.safe_load((self.folder / "headlines.yaml").read_text())
        make = self.environment.from_string
        return [Headline(**{name: make(str(text)).render() for name, text in entry.items()}) for entry in entries]

    @cached_property
    def introduction(self) -> str:
        """The sentence before the main figures: the machine, and how much was measured before records were kept."""
        self._used.clear()
        self.headlines()
        count, old = len(self._used), sum(TRANSCRIBED in record for record in self._used.values())
        share = f" ({old} of {count} measured before records were kept)" if old else ""
        return (
            f"On {self.usual['cores']} cores of a shared machine: trust the ratios, not the seconds. "
            f"All figures with their commands{share}: [results](docs/results.md)."
        )

    def _between(self, page: Path, name: str) -> str:
        """What stands between two comments of a page: a table and a link to its commands, or the main figures."""
        if name == HEADLINES:
            lines = [f"| {one.what} | {one.ours} | {one.beside} |" for one in self.headlines()]
            return "\n".join([self.introduction, "", "| what | ours | beside it |", "|---|---|---|", *lines])
        filled = self.filled(name)
        if self.layouts[name].others:
            return f"{markdown.table(filled)}\n\n{NOT_MEASURED}"
        link = "docs/results.md" if page.name == "README.md" else "results.md"
        old = markdown.age(filled)
        return f"{markdown.table(filled)}\n\nCommands and machine: [results]({link}).{f' {old}' if old else ''}"

    @cached_property
    def text(self) -> str:
        """docs/results.md."""
        return self.environment.from_string((self.folder / "page.md").read_text()).render()

    def pages(self) -> dict[Path, str]:
        """Path -> the text that it must have, for every page with figures from the records."""
        found = {self.root / "docs" / "results.md": self.text}
        for path in (self.root / "README.md", *sorted((self.root / "docs").glob("*.md"))):
            text = path.read_text()
            if MARKED.search(text) and path not in found:
                found[path] = MARKED.sub(lambda m, at=path: f"{m[1]}{self._between(at, m['name'])}\n{m[3]}", text)  # type: ignore[misc]
        return found

    def write(self) -> list[Path]:
        """Write the pages that are not what they must be; returns their paths."""
        changed = [path for path, text in self.pages().items() if not path.is_file() or path.read_text() != text]
        for path in changed:
            path.write_text(self.pages()[path])
        return changed
