"""Whether an exported model is linear: a score is a sum of weights, which are the scores of histories of one item."""

from __future__ import annotations

from serving.export_folder import ExportFolder

FAMILIES = ("ease", "edlae", "itemknn")
"""Linear models of exports that do not say it themselves."""


def is_linear(export: ExportFolder) -> bool:
    """Whether the scores of a history are the sums of the scores of its items, each as a history of its own."""
    before = "weights" if export.content["model"]["package"] in FAMILIES else ""
    return export.content.get("similar_items", before) == "weights"
