"""The wheels that a GPU machine without a package registry gets, and the files of them that are left out.

Versions that setup.cfg pins are taken from there. The list names every package: none is added for another's sake,
because TensorFlow's own list would bring NCCL and cuFFT, which one GPU does not need here.
"""

from __future__ import annotations

import configparser
import fnmatch
import zipfile
from collections.abc import Iterable
from pathlib import Path

PYTHON = "3.12"
PLATFORMS = tuple(f"manylinux_2_{k}_x86_64" for k in (28, 27, 17)) + tuple(
    f"manylinux{name}_x86_64" for name in ("2014", "2010", "1")
)
PINNED_IN_SETUP = (
    "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "tqdm", "PyYAML", "tyro", "dacite", "tabulate", "psutil",
    "tensorflow", "keras", "tensorboard", "hdrhistogram", "pytest", "pytest-timeout", "pytest-xdist", "hypothesis",
    "polars", "implicit", "optuna", "Markdown",
)  # fmt: skip
CUDA = (
    "nvidia-cublas-cu12==12.3.4.1", "nvidia-cuda-cupti-cu12==12.3.101", "nvidia-cuda-nvcc-cu12==12.3.107",
    "nvidia-cuda-runtime-cu12==12.3.101", "nvidia-cudnn-cu12==8.9.7.29", "nvidia-nvjitlink-cu12==12.3.101",
    "nvidia-cusparse-cu12==12.2.0.103", "nvidia-cusolver-cu12==11.5.4.101",
)  # fmt: skip
"""The libraries of the CUDA version that TensorFlow 2.17.1 was built for."""
OTHERS = (
    # TensorFlow and Keras
    "absl-py", "astunparse", "flatbuffers", "gast", "google-pasta", "h5py==3.11.0", "ml-dtypes==0.4.1", "namex",
    "opt-einsum", "optree", "packaging", "protobuf==4.25.9", "rich", "markdown-it-py", "mdurl", "pygments",
    "setuptools<81", "six", "termcolor", "typing-extensions", "wheel", "wrapt",
    "requests", "certifi", "charset-normalizer", "idna", "urllib3",
    # pandas, matplotlib, tyro, hdrhistogram, polars
    "python-dateutil", "pytz", "tzdata", "contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing<4",
    "docstring-parser", "shtab", "typeguard", "pbr",
    "polars-runtime-32==1.35.2",
    # implicit, optuna
    "threadpoolctl", "alembic", "sqlalchemy", "colorlog", "mako", "markupsafe",
    # pytest and hypothesis
    "iniconfig", "pluggy<2", "execnet", "attrs", "sortedcontainers",
)  # fmt: skip
LEFT_OUT = (
    "*.a", "*.h", "*.hpp", "*.cuh", "*.inc", "*.pyi", "*/include/*", "*/tests/*", "*.dist-info/RECORD",
    # of CUDA: compilers but ptxas, which XLA starts, and tools for profiling
    "*nvcc/bin/nvcc", "*cicc", "*cudafe*", "*nvlink*", "*bin2c*", "*fatbinary*", "*nvvm/lib64*", "*nvblas*",
    "*libnvperf*", "*libpcsampling*", "*libcheckpoint*", "*libclang*",
    "*libcusolverMg*",
    # of cuDNN: all but libcudnn and libcudnn_ops_infer, which XLA opens
    "*libcudnn_adv*", "*libcudnn_cnn*", "*libcudnn_ops_train*",
)  # fmt: skip
"""Patterns of file names in wheels that do not travel."""
WITH_MACHINE_CODE = (
    "tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2",
    "nvidia/cublas/lib/libcublasLt.so.12", "nvidia/cublas/lib/libcublas.so.12",
    "nvidia/cusparse/lib/libcusparse.so.12", "nvidia/cusolver/lib/libcusolver.so.11",
    "nvidia/cudnn/lib/libcudnn_ops_infer.so.8",
)  # fmt: skip
"""Libraries with machine code for many GPUs."""
EMPTY_LIBRARIES = ("libcufft.so.11",)
"""TensorFlow accepts a GPU only if it can open these. Nothing here calls them: a call would end the process."""


def pins(setup: Path) -> dict[str, str]:
    """Lower-case name -> version of every requirement that setup.cfg pins for `PYTHON`."""
    from packaging.requirements import Requirement

    config = configparser.ConfigParser()
    config.read(setup)
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    found = {}
    for line in "\n".join(texts).splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        requirement = Requirement(line)
        holds = requirement.marker is None or requirement.marker.evaluate({"python_version": PYTHON})
        if holds and str(requirement.specifier).startswith("=="):
            found[requirement.name.lower()] = str(requirement.specifier).removeprefix("==")
    return found


def requirements(setup: Path) -> list[str]:
    """Every wheel, as pip takes it.

    Raises:
        ValueError: setup.cfg does not pin a package of `PINNED_IN_SETUP`.
    """
    known = pins(setup)
    if missing := [name for name in PINNED_IN_SETUP if name.lower() not in known]:
        raise ValueError(f"{setup} pins no version of {', '.join(missing)} for Python {PYTHON}")
    return [*(f"{name}=={known[name.lower()]}" for name in PINNED_IN_SETUP), *CUDA, *OTHERS]


def download_words(setup: Path, to: Path) -> list[str]:
    """Arguments of `python -m pip` that download the wheels for the GPU machine to a folder."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    wanted = ["--python-version", PYTHON, "--implementation", "cp", "--only-binary=:all:", *platforms]
    return ["download", "--quiet", "--no-deps", "--dest", str(to), *wanted, *requirements(setup)]


def travels(name: str) -> bool:
    """Whether a file of a wheel is packed."""
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in LEFT_OUT)


def place(name: str) -> str | None:
    """Where a file of a wheel goes in the folder of packages; None for scripts and headers.

    Files below NAME.data/purelib and NAME.data/platlib belong beside the packages.
    """
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, inner = rest.partition("/")
    return inner if kind in ("purelib", "platlib") and inner else None


def unpack(wheels: Iterable[Path], site: Path) -> None:
    """Unpack wheels into a folder of packages, without the files that are left out; each wheel is removed then."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                target = place(entry.filename)
                if entry.is_dir() or target is None or not travels(target):
                    continue
                to = site / target
                to.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, to.open("wb") as sink:
                    while block := source.read(1 << 20):
                        sink.write(block)
        wheel.unlink()
