"""From an export folder to verified TopK inference: convert, check, verify, recommend, infer, Triton.

Reads what training exported and nothing else of it: no model class, no checkpoint, no data set.
"""

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment
