"""The results as one self-contained HTML page: the main figures on the first screen, charts, then all tables."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from benchmarks.pages.charts import charts
from benchmarks.pages.render import Headline, Renderer
from recsys_core.measuring import page

TITLE = "recsys-scale: results"
WHAT_IT_IS = (
    "Trains recommendation models from user-item interactions with TensorFlow and Horovod, on one process or many, and "
    "serves the best one. How good it is, how fast, and against whom:"
)
DETAILS = "{table}\n\n<details markdown=1><summary>Commands, data, machine</summary>\n\n{notes}\n\n</details>"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|#)[^)]*\)")
PICTURE = re.compile(r'(<img [^>]*src=")([^"]+)"')
INTERVAL = re.compile(r"(<td[^>]*>)([^<(]+) (\([^<]* to [^<]*\)[^<]*)</td>")
CODE = re.compile(r"`([^`]*)`")


def _inline(text: str) -> str:
    return CODE.sub(r"<code>\1</code>", html.escape(text))


def front(headlines: list[Headline], remark: str) -> str:
    """The first screen: what it is, and the main figures in boxes, by group."""
    parts = [f"<h1>{html.escape(TITLE)}</h1><p class=about>{html.escape(WHAT_IT_IS)}</p>"]
    for group in dict.fromkeys(one.group for one in headlines):
        boxes = [(_inline(h.ours), _inline(h.what), _inline(h.beside)) for h in headlines if h.group == group]
        parts.append(f"<p class=group>{html.escape(group)}</p>{page.tiles(boxes)}")
    return "".join([*parts, f"<p class=note>{html.escape(remark)}</p>"])


def _embedded(text: str, folder: Path) -> str:
    """HTML whose pictures are part of it."""

    def data(match: re.Match[str]) -> str:
        path = folder / match[2]
        return f'{match[1]}data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"'

    return PICTURE.sub(data, text)


def body(renderer: Renderer) -> str:
    """docs/results.md as HTML: each table in a box that scrolls, its commands folded away."""
    import markdown  # type: ignore[import-untyped]

    text = LINK.sub(r"\1", renderer.text).partition("\n## ")
    made = markdown.markdown("## " + text[2], extensions=["tables", "md_in_html", "toc"])
    made = INTERVAL.sub(r"\1\2 <span class=interval>\3</span></td>", made)
    made = made.replace("<table>", '<div class=scroll role=region tabindex=0 aria-label="table"><table>')
    return _embedded(made.replace("</table>", "</table></div>"), renderer.root / "docs")


def as_html(root: Path) -> str:
    """The page of a repository's results."""
    renderer = Renderer(root, DETAILS)
    counts = renderer.counts
    remark = (
        f"Machine: {renderer.environment.globals['machine']}, shared with other work. {counts['transcribed']} of "
        f"{counts['records']} records († in the tables) were measured before records were kept."
    )
    drawn = "".join(
        f"<section><h3>{html.escape(title)}</h3>{plot.as_html([])}</section>"
        for title, plot in charts(renderer.filler, renderer.layouts).items()
    )
    return page.frame(TITLE, f"{front(renderer.headlines(), remark)}<h2>Charts</h2>{drawn}{body(renderer)}")
