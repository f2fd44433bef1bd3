"""What things cost, measured side by side: ``python -m benchmarks --help``.

Benchmarks are run by people, never by the tests: a shared machine makes absolute times worthless, so every figure is
a ratio to something measured in the same run.
"""

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment
