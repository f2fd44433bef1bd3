"""docs/results.md and the tables of other pages are what the committed records say, and each can be made again."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import markdown  # type: ignore[import-untyped]
import pytest
import yaml
from markdown.extensions.toc import slugify  # type: ignore[import-untyped]

from benchmarks.pages import layout
from benchmarks.pages.committed import ROOT, Committed, read_all
from benchmarks.pages.render import MARKED, Renderer
from docs import build
from tests.docs.blocks import FENCE
from tests.docs.parsing import problem

PLACEHOLDER = re.compile(r"\{\{.*?\}\}|`[^`]*`|\]\([^)]*\)|https?://\S+", re.DOTALL)
"""What the template takes from elsewhere, code, and addresses."""
UNITS = r"%|ms|µs|s|min|minutes?|seconds?|hours?|[KMG]i?B|bytes|[a-z]+/s|times|GFLOP|Gbit"
TYPED = re.compile(rf"\d\.\d|±\s*\d|\d[\d,]*\s*({UNITS})(?![\w-])")
"""A number that looks measured: a decimal point, an error, or a unit of time, rate, memory or share."""
ALLOWED = re.compile(r"95 % interval|19\.9 million rows|one second of 40")
"""Settings and definitions that look like figures."""
METRIC = re.compile(r"(\d\.\d{3,}) ± (\d\.\d{3,})")
"""A mean with its standard error."""
NOT_CHECKED = {"docs/results.md", "docs/changelog.md"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FIGURE = re.compile(r"(?<![\w.])0?\.\d{3,4}(?!\w|\.\d)")
"""A metric or a difference: below 1, with three or four decimals."""
NO_FIGURES = re.compile(r"`[^`\n]*`|\]\([^)]*\)|https?://\S+")
"""Settings and commands, which pages write as code, and addresses."""
WITHOUT_RECORDS = {*NOT_CHECKED, "docs/tried.md"}
"""tried.md says at its top that its figures are of trials."""
NOT_YET = {("docs/training.md", "newer-data-warm-start"): "its runs were made by hand and have no records"}
"""(page, anchor of a section) -> why its figures have no record."""
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
ANCHOR = re.compile(r"\]\((?P<page>[^()#\s:]*)#(?P<anchor>[^)\s]+)\)")
"""A link within the pages to a heading."""


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(ROOT)


@pytest.fixture(scope="module")
def committed() -> Committed:
    return read_all()


def typed_figures(text: str) -> list[str]:
    """Numbers in a template that look measured."""
    plain = ALLOWED.sub("", PLACEHOLDER.sub("X", text))
    return [plain[max(m.start() - 30, 0) : m.end() + 10].replace("\n", " ") for m in TYPED.finditer(plain)]


def test_pages_are_what_the_command_makes(renderer: Renderer) -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in renderer.pages().items() if path.read_text() != text]
    assert stale == [], "run: python -m benchmarks report --docs"


def test_the_pages_hold_the_tables(renderer: Renderer) -> None:
    pages = {str(path.relative_to(ROOT)) for path in renderer.pages()}
    assert {"docs/results.md", "README.md", "docs/choosing-a-model.md"} <= pages


def test_the_template_types_no_figure(renderer: Renderer) -> None:
    for name in ("page.md", "headlines.yaml"):
        assert typed_figures((ROOT / "results" / name).read_text()) == [], name
    for name, one in renderer.layouts.items():
        assert [text for text in (*one.columns, *one.names.values()) if typed_figures(text)] == [], name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NDCG is 0.48 here", True),
        ("it takes 12 s", True),
        ("3,200 users/s", True),
        ("0 ± 1", True),
        ("80 % of it", True),
        ("4 times as fast", True),
        ('{{ figure("a/b", "wall_s .1f") }} s and `--seconds 3.5`', False),
        ("batches of 16,384 samples, 99 negatives, 95 % interval", False),
        ("[NCF](https://arxiv.org/abs/1708.05031)", False),
    ],
)
def test_a_typed_figure_is_found(text: str, found: bool) -> None:
    assert bool(typed_figures(text)) is found


def test_every_command_of_a_record_is_taken_by_its_program(committed: Committed) -> None:
    commands = dict.fromkeys(c for r in committed.records for c in (r["command"], r.get("data")) if c)
    wrong = {command: why for command in commands if (why := problem(command))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("python -m vaecf.train --data D --run-dir R --preset shalow", "shalow"),
        ("python -m vaecf.train --data D --run-dir R --epoch 3", "epoch"),
        ("python -m benchmarks train --data D --batch-sizes 5", "batch-sizes"),
        ("python -m load_study load --model delay:20 --rates 15", "rates"),
        ("python -m recsys_core.baselines --data D --names eese", "eese"),
        ("python -m data_prep ml-1m --protocoll x", "protocoll"),
        ("make bench", "no command"),
    ],
)
def test_a_command_that_no_program_takes_is_found(command: str, part: str) -> None:
    assert part in problem(command)


def test_every_record_is_shown_by_a_table(renderer: Renderer) -> None:
    shown = {id(record) for record in renderer.shown_records}
    assert [f"{r['name']}: {r['command']}" for r in renderer.committed.records if id(r) not in shown] == []


def test_every_group_and_every_published_figure_is_used(renderer: Renderer) -> None:
    assert set(renderer.committed.groups) == {one.group for one in renderer.layouts.values() if one.group}
    text = (ROOT / "results" / "page.md").read_text() + (ROOT / "results" / "headlines.yaml").read_text()
    used = {name for one in renderer.layouts.values() for name in (*one.published, one.beside, one.others)}
    used |= {name for name, one in renderer.published.items() if any(named_in(one, page.read_text()) for page in PAGES)}
    assert [name for name in renderer.published if name not in used and f'"{name}"' not in text] == []
    placed = {match["name"] for path in renderer.pages() for match in MARKED.finditer(path.read_text())}
    placed |= set(re.findall(r'table\("([\w-]+)"\)', text))
    assert set(renderer.layouts) <= placed


def test_published_figures_have_a_source_and_are_marked(renderer: Renderer) -> None:
    for name, one in yaml.safe_load((ROOT / "results" / "published.yaml").read_text()).items():
        assert one["source"] and one["about"] and (one.get("values") or one.get("rows")), name
    for name, table in renderer.layouts.items():
        assert renderer.table(name).count("; published, ") == len(table.published)
        assert ("none of them was measured by us" in renderer.table(name)) is bool(table.others)
        with_others = [header for header, how in table.columns.items() if str(how).startswith("published ")]
        assert [header for header in with_others if "published" not in header] == []


def metrics(text: str) -> set[tuple[float, float]]:
    """Means and standard errors in a text, with three decimals."""
    return {(round(float(mean), 3), round(float(error), 3)) for mean, error in METRIC.findall(text)}


def sections(text: str) -> list[str]:
    return re.split(r"(?m)^#{1,3} ", text)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_a_row_that_repeats_a_result_links_to_it(path: Path, renderer: Renderer) -> None:
    """Tables outside the comments that the command fills: the section of such a row links to the results."""
    if str(path.relative_to(ROOT)) in NOT_CHECKED:
        return
    known = metrics(renderer.text)
    for section in sections(MARKED.sub("", path.read_text())):
        rows = [line for line in section.splitlines() if line.startswith("|") and known & metrics(line)]
        linked = "results.md" in section or all("](#sources)" in row for row in rows)
        assert linked or not rows, f"{rows[0]}: no link to results.md in its section"


def blanked(text: str) -> str:
    """A page without the tables that the command fills and without blocks of code, with as many lines."""
    lines, fenced = [], False
    for line in MARKED.sub(lambda match: "\n" * match[0].count("\n"), text).splitlines():
        fence = bool(FENCE.match(line))
        lines.append("" if fenced or fence or line.startswith("    ") else line)
        fenced = fenced != fence
    return "\n".join(lines)


def by_anchor(text: str) -> dict[str, str]:
    """Anchor of a heading -> what stands below it, until the next heading of any level."""
    starts = [*HEADING.finditer(text)]
    ends = [*(match.start() for match in starts[1:]), len(text)]
    return {slugify(m[1].replace("`", ""), "-"): text[m.end() : end] for m, end in zip(starts, ends, strict=True)}


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"(?<![\w.])\d*\.\d+", text)]


def named_in(one: layout.Published, text: str) -> bool:
    """Whether a text names the source of published figures and has one of their own figures."""
    typed = [float(match[0]) for match in FIGURE.finditer(text)]
    return source_name(one.source) in text and any(value in typed for value in one.values.values())


def source_name(source: str) -> str:
    """A source without what follows its first comma, as "table 2"."""
    return source.partition(",")[0]


def known_in(section: str, results: dict[str, str], published: dict[str, layout.Published]) -> list[float]:
    """The figures that a section may type: of the sections of results.md that it links to, and of sources it names."""
    anchors = re.findall(r"results\.md#([\w-]+)\)", section)
    found = [number for anchor in anchors for number in numbers(results.get(anchor, ""))]
    for one in published.values():
        for row in (one.values, *one.rows):
            if source_name(row.get("source", one.source)) in section:
                found += [value for value in row.values() if isinstance(value, float)]
    return found


def unknown_figures(text: str, results: dict[str, str], others: dict[str, layout.Published]) -> list[tuple[int, str]]:
    """Line and text of each metric in a page that is neither measured nor published, at its own number of decimals."""
    lines, found = blanked(text).splitlines(), []
    starts = [0, *(k for k, line in enumerate(lines) if HEADING.match(line)), len(lines)]
    for start, end in pairwise(starts):
        known = known_in("\n".join(lines[start:end]), results, others)
        for k in range(start, end):
            for match in FIGURE.finditer(NO_FIGURES.sub("", lines[k])):
                half = 0.5 * 10.0 ** -len(match[0].partition(".")[2]) + 1e-9
                if not any(abs(number - float(match[0])) <= half for number in known):
                    found.append((k + 1, match[0]))
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_typed_metric_is_measured_or_published(path: Path, renderer: Renderer) -> None:
    """At its own number of decimals, it stands in a section of results.md that its own section links to by an anchor,
    or in published.yaml under a source that its section names. Better: no figure, or a table of records in place."""
    name = str(path.relative_to(ROOT))
    if name in WITHOUT_RECORDS:
        return
    text = blanked(path.read_text())
    for page, anchor in NOT_YET:
        if page == name:
            part = by_anchor(text)[anchor]
            assert unknown_figures(part, {}, {}), f"{name}#{anchor} needs no exception any more"
            text = text.replace(part, "\n" * part.count("\n"))
    found = unknown_figures(text, by_anchor(renderer.text), renderer.published)
    assert [f"{name}, line {line}: {figure}" for line, figure in found] == []


RESULTS = {"a-table": "| 0.4808 ± 0.0059 | -0.0084 |"}
THEIRS = {"they": layout.Published(source="They 2019, table 1", values={"x": 0.959})}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It has 0.481 ± 0.006 ([results](results.md#a-table)).", []),
        ("A\n# B\nIt has 0.482 ([results](results.md#a-table)).", [(3, "0.482")]),
        ("It has 0.481.\n# B\n[results](results.md#a-table)", [(1, "0.481")]),
        ("It has 0.481, see [results](results.md).", [(1, "0.481")]),
        ("| [a](results.md#a-table) | -.0084 / .426 |", [(1, ".426")]),
        ("They 2019 report 0.959.", []),
        ("Others report 0.959.", [(1, "0.959")]),
        ("0.48, 1.234, 0.12345, 10.1145, 1.0.234, `0.123`\n```\n0.123\n```\n\n    0.123", []),
        ("<!-- results: a -->\n| 0.123 |\n<!-- end of results -->\n0.124", [(4, "0.124")]),
    ],
)
def test_a_metric_that_no_record_has_is_found(text: str, found: list[tuple[int, str]]) -> None:
    assert unknown_figures(text, RESULTS, THEIRS) == found


@cache
def anchors_of(path: Path) -> frozenset[str]:
    """The anchors that the site gives a page, and the names that its reference documents."""
    text = build.INCLUDE.sub(lambda match: (ROOT / match[1]).read_text(), path.read_text())
    made = markdown.markdown(text, extensions=["toc", "tables", "attr_list", "md_in_html", "pymdownx.superfences"])
    return frozenset(re.findall(r'\bid="([^"]+)"', made)) | frozenset(re.findall(r"(?m)^::: (\S+)", text))


def dead_anchors(path: Path, text: str) -> list[str]:
    """The links of a page to headings that are not there."""
    found = []
    for match in ANCHOR.finditer(blanked(text)):
        target = path.parent / match["page"] if match["page"] else path
        if target.suffix == ".md" and match["anchor"] not in anchors_of(target.resolve()):
            found.append(match[0][2:-1])
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_to_headings(path: Path) -> None:
    assert dead_anchors(path, path.read_text()) == []


def test_a_dead_link_is_found() -> None:
    page = ROOT / "docs" / "evaluation.md"
    text = "[a](#gate) [b](#no-gate) [c](glossary.md#ease) [d](glossary.md#hard) [e](../README.md#x) [f](https://a.b#c)"
    assert dead_anchors(page, text) == ["#no-gate", "glossary.md#hard", "../README.md#x"]
