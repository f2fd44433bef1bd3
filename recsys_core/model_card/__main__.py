"""Write the model card of an export anew: ``python -m recsys_core.model_card RUN``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys_core.cli import command, user_errors
from recsys_core.files import write_text
from recsys_core.model_card import card


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; name the folder of a finished run that passed its gate") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _manifest(run: Path, given: Path | None) -> dict[str, Any]:
    """The manifest of the data set of a run; empty where it is not there any more."""
    from recsys_core.dataset import read_manifest

    if given is not None:
        return read_manifest(given)
    named = (_json(run / "run.json").get("data") or {}).get("folder") if (run / "run.json").is_file() else None
    if named and (Path(named) / "manifest.json").is_file():
        return read_manifest(Path(named))
    print("note: the data set is not where the run says; --data names it", file=sys.stderr)
    return {}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 written, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m recsys_core.model_card", description="Write the model card of an export anew."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run that passed its gate")
    parser.add_argument("--data", type=Path, help="its data set, if it was moved")
    args = parser.parse_args(argv)
    with command() as status, user_errors():
        folder = args.run / "export"
        export, result = _json(folder / "export.json"), _json(args.run / "result.json")
        text = card.as_markdown(export, result, _manifest(args.run, args.data))
        write_text(folder / card.MARKDOWN, text)
        write_text(folder / card.HTML, card.as_html(text))
        print(f"{folder / card.MARKDOWN} and {card.HTML}")
    return status.code


if __name__ == "__main__":
    sys.exit(main())
