"""Build the site: `python -m docs.build` (what `make docs` runs) writes build/site.

Pages are copied to a temporary folder, where comments in them are replaced by what the code says today:

    <!-- help: COMMAND -->      the help of a command, as it prints it
    <!-- include: FILE -->      a file of the repository, without its first heading
    <!-- notebooks -->          links to the notebooks of examples/, which become pages
    <!-- scripts -->            a table of the scripts of examples/

Then terms are linked to the glossary, and Zensical builds the site strictly. Nothing is fetched.
"""

from __future__ import annotations

import argparse
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
UNLINKED = ("glossary.md", "changelog.md", "renamed.md", "reference/api.md")
"""Pages in which terms are not linked."""


class BuildError(Exception):
    """Something in the pages that is wrong; the message says what."""


def _included(match: re.Match[str]) -> str:
    text = (ROOT / match[1]).read_text()
    return re.sub(r"\A# .*\n+", "", text).strip()


def _notebook_pages(stage: Path) -> list[tuple[str, Path]]:
    """Title and page of each notebook, written into the folder of the pages."""
    folder, pages = stage / "notebooks", []
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        folder.mkdir(exist_ok=True)
        page = folder / f"{notebook.stem}.md"
        page.write_text(example_pages.notebook_page(notebook, folder))
        pages.append((example_pages.title_of(notebook), page))
    return pages


def _scripts() -> Sequence[Path]:
    helpers = ("__init__", "shop", "run_notebooks")
    return [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem not in helpers]


def expand(text: str, texts: Mapping[str, str], notebooks: Sequence[tuple[str, Path]]) -> str:
    """A page with its comments replaced; see the module.

    Raises:
        BuildError: a command without help.
    """

    def help_block(match: re.Match[str]) -> str:
        if match[1] not in texts:
            raise BuildError(f"no help of {match[1]!r}, known are: {', '.join(texts)}")
        return f"```text\n{texts[match[1]]}\n```"

    links = "\n".join(f"- [{title}](notebooks/{page.name})" for title, page in notebooks)
    text = HELP.sub(help_block, INCLUDE.sub(_included, text))
    text = text.replace("<!-- notebooks -->", links or "(none)")
    return text.replace("<!-- scripts -->", example_pages.script_table(_scripts()))


def _write_pages(stage: Path) -> list[tuple[str, Path]]:
    """Copy all pages to `stage`, expanded and linked; the notebooks' titles and pages."""
    kept = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(ROOT / "docs", stage, ignore=kept)
    notebooks = _notebook_pages(stage)
    texts = help_texts.all_texts()
    forms = glossary_links.terms((stage / "glossary.md").read_text())
    for page in stage.rglob("*.md"):
        name = page.relative_to(stage)
        text = expand(page.read_text(), texts, notebooks)
        if name.as_posix() not in UNLINKED:
            text = glossary_links.linked(text, forms, "../" * (len(name.parts) - 1) + "glossary.md")
        page.write_text(text)
    return notebooks


def _write_configuration(stage: Path, notebooks: Sequence[tuple[str, Path]]) -> Path:
    """The configuration of this build: mkdocs.yml with the folders of this build and the notebooks."""
    settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    settings |= {"docs_dir": "docs", "site_dir": "site"}
    for plugin in settings["plugins"]:
        if isinstance(plugin, dict) and "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    for entry in settings["nav"]:
        if isinstance(entry, dict) and "Examples" in entry:
            entry["Examples"] += [{title: f"notebooks/{page.name}"} for title, page in notebooks]
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
        configuration = _write_configuration(stage, notebooks)
        program = Path(sys.executable).parent / "zensical"
        line = [str(program), "build", "--strict", "-f", str(configuration)]
        done = subprocess.run(line, cwd=stage, capture_output=True, text=True, check=False)
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        if done.returncode or "griffe: " in said:
            raise BuildError(said.partition("Traceback (most recent call last)")[0].strip())
        shutil.copytree(stage / "site", site, dirs_exist_ok=True)


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
    print(f"open {site / 'index.html'} in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
