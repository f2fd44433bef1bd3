"""SavedModel: a copy of the exported model, for servers that read this format."""

from __future__ import annotations

import shutil
from pathlib import Path

from serving.convert.options import Options
from serving.export_folder import ExportFolder
from serving.targets import Target


def missing_requirements(target: Target) -> list[str]:
    """None: the copy needs no package."""
    del target
    return []


def convert(export: ExportFolder, target: Target, path: Path, options: Options) -> dict[str, str]:
    """Copy the model to a folder; returns no further fields for conversion.json."""
    del target, options
    shutil.copytree(export.saved_model, path)
    return {}
