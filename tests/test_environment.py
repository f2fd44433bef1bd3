"""The environment: what TensorFlow reads is set before it is imported, and TensorBoard finds what it imports."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

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


def requirements() -> list[Requirement]:
    """What setup.cfg installs with every extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in config["options"]["install_requires"].strip().splitlines() if line[0] != "#"]


def test_every_installation_has_a_setuptools_with_which_tensorboard_starts() -> None:
    """Version 81 took pkg_resources away. PyTorch 2.13, of the extra `peers`, asks for 77.0.3 or later."""
    (wanted,) = [requirement for requirement in requirements() if requirement.name == "setuptools"]
    assert "81.0.0" not in wanted.specifier
    assert "84.2.1" not in wanted.specifier
    assert "80.9.0" in wanted.specifier
    done = subprocess.run([sys.executable, "-c", "import tensorboard.main"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
