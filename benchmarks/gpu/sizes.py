"""Sizes of the measurements: those of a GPU, and small ones that try every part on a CPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A training step to measure."""

    model: str
    """"vae", or a name of `benchmarks.shapes.SHAPES`."""
    batch: int
    """Users or samples of a step."""
    precision: str

    @classmethod
    def parse(cls, text: str) -> Setting:
        """The setting of the text MODEL:BATCH:PRECISION.

        Raises:
            ValueError: the text has another form.
        """
        parts = text.split(":")
        if len(parts) != 3 or not parts[1].isdigit():
            raise ValueError(f"{text!r} is no setting, expected MODEL:BATCH:PRECISION, as vae:500:bf16")
        return cls(model=parts[0], batch=int(parts[1]), precision=parts[2])

    def __str__(self) -> str:
        return f"{self.model}:{self.batch}:{self.precision}"


def _settings(*texts: str) -> tuple[Setting, ...]:
    return tuple(Setting.parse(text) for text in texts)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of every part."""

    data: tuple[str, ...]
    """Words of `python -m data_prep` that make the data set."""
    tests: tuple[str, ...]
    """Words of pytest."""
    vae: tuple[Setting, ...]
    """VAE-CF with the compiled step."""
    vae_sparse: tuple[Setting, ...]
    """VAE-CF with the sparse step."""
    vae_peer: tuple[Setting, ...]
    """VAE-CF in PyTorch."""
    ncf: tuple[Setting, ...]
    """NeuMF, ours and in PyTorch."""
    profile: Setting
    seconds: float
    """Length of a window of steps."""
    short_run: tuple[str, ...]
    """Words of `vaecf.train` for a few epochs."""
    whole_run: tuple[str, ...]
    """Words of `vaecf.train` for a whole run."""
    requests: tuple[int, ...]
    """Batch sizes of inference."""
    answers: int
    """Requests of each batch size that are timed."""


FAST_TESTS = (
    "-m", "not slow and not ranks",
    "tests/gpu", "tests/end_to_end/test_determinism.py", "tests/vaecf", "tests/ncf_tf", "tests/recsys_core",
)  # fmt: skip

ON_GPU = Sizes(
    data=("synthetic", "--like", "ml-20m-prepared", "--held-out-users", "10000"),
    tests=("-n", "auto", "--maxprocesses", "8", "--dist", "loadgroup", *FAST_TESTS),
    vae=_settings(
        "vae:24576:bf16", "vae:8192:bf16", "vae:2000:bf16", "vae:500:bf16", "vae:24576:tf32", "vae:24576:fp32"
    ),
    vae_sparse=_settings("vae:24576:bf16", "vae:8192:bf16", "vae:2000:bf16", "vae:500:bf16"),
    vae_peer=_settings("vae:24576:bf16", "vae:8192:bf16", "vae:2000:bf16", "vae:500:bf16", "vae:24576:tf32"),
    ncf=_settings("nvidia:1048576:bf16", "he2017-64:65536:bf16"),
    profile=Setting.parse("vae:24576:bf16"),
    seconds=1.0,
    short_run=("--preset", "nvidia", "--precision", "bf16", "--epochs", "20", "--evaluate-every", "10"),
    whole_run=("--preset", "nvidia", "--precision", "bf16"),
    requests=(1, 32, 256, 1024),
    answers=200,
)
ON_CPU = Sizes(
    data=("synthetic", "--like", "tiny", "--held-out-users", "60"),
    tests=("-n", "0", "tests/gpu"),
    vae=_settings("vae:64:bf16", "vae:32:fp32"),
    vae_sparse=_settings("vae:32:fp32"),
    vae_peer=_settings("vae:64:bf16", "vae:32:fp32"),
    ncf=_settings("he2017-8:1280:fp32"),
    profile=Setting.parse("vae:32:fp32"),
    seconds=0.1,
    short_run=("--preset", "quick", "--precision", "fp32", "--epochs", "2"),
    whole_run=("--preset", "quick", "--precision", "fp32", "--epochs", "4"),
    requests=(1, 8),
    answers=5,
)
"""Sizes of `--cpu`: to try the parts, not to measure."""
