"""Inference under load: arrivals, engines, latency percentiles, and the highest rate within a tail-latency target.

Subjects are exports of this project, eight published recommendation models (`zoo`), and known delays. No other package
imports this one.
"""

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment
