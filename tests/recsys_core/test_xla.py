"""The start of XLA writes nothing, and leaves the standard error as it was."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT, _environment

CODE = """
import sys
import tensorflow as tf
from recsys_core.xla import compiled
double = tf.function(lambda x: compiled(lambda x: x * 2.0)(x))  # made while a graph is traced
print(double(tf.constant([1.5, 2.0])).numpy().tolist())
print("still here", file=sys.stderr)
"""


def test_a_compiled_function_writes_no_notices() -> None:
    env = _environment({"TF_CPP_MIN_LOG_LEVEL": "2"})
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "[3.0, 4.0]\n"
    assert done.stderr == "still here\n"
