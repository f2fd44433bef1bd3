"""docs/results.md and the tables of other pages are what the committed records say, and each can be made again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from benchmarks.pages.committed import ROOT, Committed, read_all
from benchmarks.pages.render import MARKED, Renderer
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
    for name, layout in renderer.layouts.items():
        assert [text for text in (*layout.columns, *layout.names.values()) if typed_figures(text)] == [], name


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
    assert set(renderer.committed.groups) == {layout.group for layout in renderer.layouts.values()}
    text = (ROOT / "results" / "page.md").read_text() + (ROOT / "results" / "headlines.yaml").read_text()
    used = {name for layout in renderer.layouts.values() for name in (*layout.published, layout.beside)}
    assert [name for name in renderer.published if name not in used and f'"{name}"' not in text] == []
    placed = {match["name"] for path in renderer.pages() for match in MARKED.finditer(path.read_text())}
    placed |= set(re.findall(r'table\("([\w-]+)"\)', text))
    assert set(renderer.layouts) <= placed


def test_published_figures_have_a_source_and_are_marked(renderer: Renderer) -> None:
    for name, one in yaml.safe_load((ROOT / "results" / "published.yaml").read_text()).items():
        assert one["source"] and one["about"] and (one.get("values") or one.get("rows")), name
    for name, layout in renderer.layouts.items():
        assert renderer.table(name).count("; published, ") == len(layout.published)
        with_others = [header for header, how in layout.columns.items() if str(how).startswith("published ")]
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
