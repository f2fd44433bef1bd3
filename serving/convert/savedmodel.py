"""SavedModel: the exported model as it is, for servers that read that format."""

from __future__ import annotations

import shutil
from pathlib import Path

from serving.convert.options import Options
from serving.export_folder import ExportFolder
from serving.targets import Variant


def missing(variant: Variant) -> list[str]:
    """Nothing beyond TensorFlow."""
    del variant
    return []


def convert(export: ExportFolder, variant: Variant, target: Path, options: Options) -> dict[str, str]:
    """Copy the model; returns nothing to add to conversion.json."""
    del variant, options
    shutil.copytree(export.saved_model, target)
    return {}
