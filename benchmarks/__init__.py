"""Speed and memory of preparation, training, evaluation and serving, and of a reference measured in the same run.

Other work on a shared machine changes absolute times, so every figure is also given as a ratio to the reference. The
tests do not run benchmarks. Inference under load is measured by `python -m load_study`.
"""

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment
