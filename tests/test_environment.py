"""What TensorFlow reads from the environment is set before it is imported, whatever is imported first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import os, sys
class Witness:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), os.environ.get("TF_CPP_MIN_LOG_LEVEL"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Witness())
import {module}
"""


def _seen(module: str, **given: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_")} | given
    words = [sys.executable, "-c", PROGRAM.format(module=module)]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "module",
    ["vaecf.model", "ncf_tf.model", "recsys_core.training.trainer", "recsys_core.topk", "benchmarks.steps"],
)
def test_whatever_comes_first(module: str) -> None:
    assert _seen(module) == "1 2"


def test_what_the_user_says_stays() -> None:
    assert _seen("vaecf.model", TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="0") == "0 0"
