"""Build the site: `python -m docs.build` (what `make docs` runs) writes build/site.

Pages are copied to a temporary folder, where comments in them are replaced by what the code says today:

    <!-- help: COMMAND -->      the help of a command, as it prints it
    <!-- include: FILE -->      a file of the repository, without its first heading
    <!-- picture: FILE: TEXT -->    a picture of docs/, if it is there

Notebooks of examples/ become pages. Links to files outside docs/ become the names of the files, terms are linked to the
glossary, and MkDocs builds the site strictly. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from docs import example_pages, glossary_links, help_texts

ROOT = Path(__file__).resolve().parent.parent
HELP = re.compile(r"<!-- help: (.+?) -->")
INCLUDE = re.compile(r"<!-- include: (.+?) -->")
PICTURE = re.compile(r"<!-- picture: (.+?): (.+?) -->")
OUTSIDE = re.compile(
    r"\[(?P<text>[^\]]+)\]\((?:\.\./)+(?P<file>(?:examples/|README|CHANGELOG|Makefile)[^)#]*)(?:#[^)]*)?\)"
)
"""Links of the pages to files of the repository that are not pages."""
COMMON_WORDS = ("code", "rank", "step", "threshold", "view")
"""Terms that pages use in their everyday meaning too; they are linked by hand only."""
TABLE_ROW = re.compile(r"^\|.*$", re.MULTILINE)
"""In which a value and its error stay in one line."""
UNLINKED = ("glossary.md", "changelog.md", "renamed.md", "reference/api.md")
"""Pages in which terms are not linked."""


class BuildError(Exception):
    """Something in the pages that is wrong; the message says what."""


def _included(match: re.Match[str]) -> str:
    text = re.sub(r"\A# .*\n+", "", (ROOT / match[1]).read_text()).strip()
    return example_pages.with_links(text, "") if match[1].startswith("examples/") else text


def _named(match: re.Match[str]) -> str:
    """A link to a file outside docs/ as text with the name of the file."""
    text, file = match["text"], f"`{match['file']}`"
    return file if text.strip("`") in match["file"] else f"{text} ({file})"


def _picture(match: re.Match[str]) -> str:
    return f"![{match[2]}]({match[1]})" if (ROOT / "docs" / match[1]).is_file() else ""


def _notebook_pages(stage: Path) -> list[tuple[str, Path]]:
    """Title and page of each notebook, written into the folder of the pages."""
    folder, pages = stage / "notebooks", []
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        folder.mkdir(exist_ok=True)
        page = folder / f"{notebook.stem}.md"
        page.write_text(example_pages.notebook_page(notebook, folder))
        pages.append((example_pages.title_of(notebook), page))
    return pages


def expand(text: str, texts: Mapping[str, str]) -> str:
    """A page with its comments replaced; see the module.

    Raises:
        BuildError: a command without help.
    """

    def help_block(match: re.Match[str]) -> str:
        if match[1] not in texts:
            raise BuildError(f"no help of {match[1]!r}, known are: {', '.join(texts)}")
        return f"```text\n{texts[match[1]]}\n```"

    return OUTSIDE.sub(_named, PICTURE.sub(_picture, HELP.sub(help_block, INCLUDE.sub(_included, text))))


def _write_pages(stage: Path) -> list[tuple[str, Path]]:
    """Copy all pages to `stage`, expanded and linked; the notebooks' titles and pages."""
    kept = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(ROOT / "docs", stage, ignore=kept)
    notebooks = _notebook_pages(stage)
    texts = help_texts.all_texts()
    forms = glossary_links.terms((stage / "glossary.md").read_text())
    forms = {form: anchor for form, anchor in forms.items() if form not in COMMON_WORDS}
    for page in stage.rglob("*.md"):
        name = page.relative_to(stage)
        text = expand(page.read_text(), texts)
        if name.as_posix() not in UNLINKED:
            text = glossary_links.linked(text, forms, "../" * (len(name.parts) - 1) + "glossary.md")
        page.write_text(TABLE_ROW.sub(lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), text))
    return notebooks


def _write_configuration(stage: Path, site: Path, notebooks: Sequence[tuple[str, Path]]) -> Path:
    """The configuration of this build: mkdocs.yml with the folders of this build and the notebooks."""
    settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    settings |= {"docs_dir": str(stage / "docs"), "site_dir": str(site)}
    for plugin in settings["plugins"]:
        if isinstance(plugin, dict) and "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    guides = next(entry["Guides"] for entry in settings["nav"] if "Guides" in entry)
    examples = next(entry["Examples"] for entry in guides if "Examples" in entry)
    examples += [{title: f"notebooks/{page.name}"} for title, page in notebooks]
    configuration = stage / "mkdocs.yml"
    configuration.write_text(yaml.safe_dump(settings, sort_keys=False))
    return configuration


def build(site: Path) -> None:
    """Write the site into an empty or missing folder.

    Raises:
        BuildError: a broken link, an unknown name in the reference, or a docstring that cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        stage = Path(folder)
        notebooks = _write_pages(stage / "docs")
        configuration = _write_configuration(stage, site.absolute(), notebooks)
        program = Path(sys.executable).parent / "mkdocs"
        line = [str(program), "build", "--strict", "-f", str(configuration)]
        env = os.environ | {"NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
        done = subprocess.run(line, cwd=stage, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [text for text in (done.stdout + done.stderr).splitlines() if not text.startswith("INFO ")]
        raise BuildError(
            "\n".join(said).replace(f"{stage}/", "").partition("Traceback (most recent call last)")[0].strip()
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.build", description="Build the documentation site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="(default: build/site)")
    site = parser.parse_args(argv).out
    if site.exists():
        shutil.rmtree(site)
    try:
        build(site)
    except BuildError as error:
        print(f"error: the site was not built\n{error}", file=sys.stderr)
        return 2
    print(f"open {site / 'index.html'} in a browser, or for the search: python -m http.server --directory {site}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
