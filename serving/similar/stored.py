"""How an export tells which items are similar, and its item vectors; earlier ones have them in the SavedModel only."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from serving.export_folder import ExportFolder
from serving.progress import step
from serving.reasons.linear import is_linear

FILE = "item_vectors.npy"
COSINE, WEIGHTS = "cosine", "weights"
"""As in `recsys_core.item_vectors`, which writes them: importing that would import TensorFlow."""
KEYS = {
    "vaecf": re.compile(r".*\bdecoder(/\d+)?/0"),
    "ncf_tf": re.compile(r".*\b(gmf|mlp)/items"),
    "ials": re.compile(r".*\bvectors"),
    "bpr": re.compile(r".*\bvectors"),
}
"""Model family -> names of the variables that are its item vectors; several are put side by side, by name."""
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def method(export: ExportFolder) -> str:
    """COSINE or WEIGHTS.

    Raises:
        ValueError: the model has no vectors, or defines similar items in another way.
    """
    family = export.content["model"]["package"]
    if is_linear(export):
        return WEIGHTS
    if export.content.get("similar_items", COSINE if family in KEYS else "none") != COSINE:
        raise ValueError(
            f"{export.folder}: a model of the family {family!r} has no item vectors in its export; "
            "take one of VAE-CF, NCF, EASE, EDLAE, ItemKNN, iALS or BPR"
        )
    return COSINE


def vectors(export: ExportFolder) -> npt.NDArray[np.float32]:
    """[I, D] the vectors of the items, not of length 1. They are mapped into memory where they are a file.

    Raises:
        ValueError: there is no such file, and the SavedModel does not tell which of its variables they are.
    """
    path = export.folder / FILE
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return _of_saved_model(export)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); train again") from None
    if found.ndim != 2 or len(found) != export.n_items:
        raise ValueError(f"{path} is damaged (shape {found.shape}, expected {export.n_items} rows); train again")
    return found


def _of_saved_model(export: ExportFolder) -> npt.NDArray[np.float32]:
    """The vectors among the variables of a SavedModel: exports had no file of them before."""
    step("loading TensorFlow for the item vectors, which newer exports hold in a file")
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(export.saved_model / "variables" / "variables"))
    shapes = {name.removesuffix(VALUE): shape for name, shape in reader.get_variable_to_shape_map().items()}
    family = export.content["model"]["package"]
    axis = 1 if family == "vaecf" else 0  # of the items: a layer's kernel [D, I], or a table [I, D]
    names = sorted(
        name
        for name, shape in shapes.items()
        if KEYS[family].fullmatch(name) and len(shape) == 2 and shape[axis] == export.n_items
    )
    if not names or (len(names) > 1 and family != "ncf_tf"):
        raise ValueError(f"{export.folder} is of an earlier version and holds no item vectors; train again")
    parts = [reader.get_tensor(name + VALUE) for name in names]
    return np.concatenate([part.T if axis else part for part in parts], axis=1)
