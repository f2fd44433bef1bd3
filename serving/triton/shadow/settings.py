"""The files of a shadow, in the folder of its model. The backend of the served version looks at them once a second.

NAME/shadow/settings.json           the candidate's version, the share of requests; written by `publish --shadow`
NAME/shadow/report-INSTANCE.json    the state and the counts of an instance of the model; written by the backend
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recsys_core import files
from serving.triton.shadow.tally import Tally

FOLDER, SETTINGS = "shadow", "settings.json"
LOADING, RUNNING, FAILED = "loading", "running", "failed"
"""States of an instance's candidate."""


@dataclass(frozen=True, kw_only=True)
class ShadowSettings:
    """A candidate that is shadowed."""

    version: int
    served: int
    """The version that is served meanwhile; another one does not pass on its requests."""
    share: float
    """Of the requests, above 0 and up to 1."""
    started_at: str

    @property
    def token(self) -> str:
        """Tells two shadows apart."""
        return f"{self.version} {self.served} {self.share} {self.started_at}"


def check_share(share: float) -> float:
    """
    Raises:
        ValueError: the share is not above 0 and up to 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"--shadow is {share:g}, expected a share of the requests above 0 and up to 1, as 0.1")
    return share


def read(model: Path) -> ShadowSettings | None:
    """The shadow of a model; None if it has none.

    Raises:
        ValueError: the file is damaged.
    """
    path = model / FOLDER / SETTINGS
    try:
        return ShadowSettings(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); --drop-shadow removes it") from None


def start(model: Path, version: int, served: int, share: float) -> ShadowSettings:
    """Write the settings of a new shadow. The caller holds the repository's lock."""
    settings = ShadowSettings(
        version=version, served=served, share=check_share(share), started_at=time.strftime("%Y-%m-%dT%H:%M:%S%z")
    )
    shutil.rmtree(model / FOLDER, ignore_errors=True)
    (model / FOLDER).mkdir()
    files.write_json(model / FOLDER / SETTINGS, asdict(settings))
    return settings


def remove(model: Path) -> bool:
    """End a shadow; returns whether there was one. Its version stays. The caller holds the repository's lock."""
    folder = model / FOLDER
    if not folder.exists():
        return False
    (folder / SETTINGS).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return True


def report_path(model: Path, instance: str) -> Path:
    return model / FOLDER / f"report-{re.sub(r'[^A-Za-z0-9_-]', '_', instance)}.json"


def write_report(path: Path, settings: ShadowSettings, state: str, reason: str, tally: Tally) -> None:
    """Write the report of an instance, whole. It makes no folder, so that none is left of a shadow that was ended.

    Raises:
        OSError: the folder is gone, or cannot be written.
    """
    content = {
        "shadow": settings.token,
        "state": state,
        "reason": reason,
        "updated_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "counts": tally.as_json(),
        "summary": tally.summary(),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def read_report(path: Path, settings: ShadowSettings) -> tuple[Mapping[str, Any], Tally] | None:
    """The report of an instance; None if there is none of this shadow."""
    try:
        content = json.loads(path.read_text())
        if content["shadow"] != settings.token:
            return None
        return content, Tally.from_json(content["counts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, kw_only=True)
class ShadowReport:
    """The reports of all instances of a model together."""

    settings: ShadowSettings
    instances: int
    states: tuple[str, ...]
    reasons: tuple[str, ...]
    updated_at: str
    tally: Tally

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        about = asdict(self.settings) | {"instances": self.instances, "states": list(self.states)}
        return about | {"reasons": list(self.reasons), "updated_at": self.updated_at or None} | self.tally.summary()


def report(model: Path, settings: ShadowSettings) -> ShadowReport:
    """Read and add up the reports of a shadow."""
    found = [read_report(path, settings) for path in sorted((model / FOLDER).glob("report-*.json"))]
    known, tally = [each for each in found if each is not None], Tally()
    for _, each in known:
        tally.merge(each)
    return ShadowReport(
        settings=settings,
        instances=len(known),
        states=tuple(sorted({str(content["state"]) for content, _ in known})),
        reasons=tuple(sorted({str(content["reason"]) for content, _ in known if content["reason"]})),
        updated_at=max((str(content["updated_at"]) for content, _ in known), default=""),
        tally=tally,
    )
