"""Pack TensorFlow and the project for a GPU machine without a package registry: ``python -m benchmarks.gpu.pack OUT``.

OUT gets files of at most 51 MiB. Bring all of them into one folder of the machine (Linux on x86-64, Python 3.12, an
NVIDIA driver for CUDA 12) and run `bash run-gpu.sh` there. Machine code for one generation of GPUs travels
(--architecture). One process and one GPU: no Horovod, no NCCL. Packing takes about 8 minutes on two cores;
--project-only renews the project's files in a pack that exists.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import wheels
from benchmarks.gpu.fat_binary import prune

ROOT = Path(__file__).resolve().parents[2]
BARE = Path(__file__).parent / "bare"
PART, PROJECT, SCRIPT, SUMS = "tensorflow-part-", "project.tar.xz", "run-gpu.sh", "SHA256SUMS"
NOT_NEEDED = ("docs/img/",)
"""Beginnings of the project's files that do not travel."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def project_files() -> list[str]:
    """The project's files that git knows and that are there."""
    names = _git("ls-files", "-z").split("\0")
    return [n for n in names if n and not n.startswith(NOT_NEEDED) and (ROOT / n).is_file()]


def commit() -> str:
    """The commit, marked where files differ from it."""
    changed = "+changes" if _git("status", "--porcelain", "--untracked-files=no").strip() else ""
    return _git("rev-parse", "HEAD").strip() + changed


def pack_project(out: Path) -> None:
    """Write the archive of the project, with its commit in `.commit`, and the script that unpacks and runs."""
    with tempfile.TemporaryDirectory() as folder:
        about = Path(folder, ".commit")
        about.write_text(commit())
        with tarfile.open(out / PROJECT, "w:xz") as archive:
            for name in project_files():
                archive.add(ROOT / name, name)
            archive.add(about, about.name)
    shutil.copy(BARE / SCRIPT, out / SCRIPT)


def complete_site(site: Path, architecture: int) -> None:
    """Make unpacked wheels ready to run: start-up file, empty libraries, tools, code of one architecture only."""
    shutil.copy(BARE / "sitecustomize.py", site)
    empty = site / "nvidia" / "empty" / "lib"
    empty.mkdir(parents=True)
    for name in wheels.EMPTY_LIBRARIES:
        words = ["gcc", "-shared", "-nostdlib", "-x", "c", "/dev/null", f"-Wl,-soname,{name}", "-o", str(empty / name)]
        subprocess.run(words, check=True)
    for tool in site.glob("nvidia/*/bin/*"):
        tool.chmod(0o755)
    for name in wheels.WITH_MACHINE_CODE:
        found = prune(site / name, architecture)
        say(f"{name}: {found.zeroed >> 20} MiB for other GPUs left out, {found.kept >> 20} MiB kept")


def compress(site: Path, out: Path, part_mib: int) -> None:
    """Write the folder as a compressed archive in parts."""
    line = f"set -o pipefail; tar -C '{site}' -c . | xz -T0 -3 | split -b {part_mib}m -d - '{out / PART}'"
    subprocess.run(["bash", "-c", line], check=True)


def pack_tensorflow(out: Path, architecture: int, part_mib: int) -> None:
    """Download the wheels and write the parts."""
    for old in out.glob(f"{PART}*"):
        old.unlink()
    with tempfile.TemporaryDirectory(dir=out) as folder:
        downloads, site = Path(folder, "wheels"), Path(folder, "site")
        say("downloading the wheels ...")
        words = wheels.download_words(ROOT / "setup.cfg", downloads)
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        wheels.unpack(sorted(downloads.iterdir()), site)
        complete_site(site, architecture)
        say("compressing ...")
        compress(site, out, part_mib)


def write_sums(out: Path) -> list[Path]:
    """Write the checksums of all files, and return these files."""
    files = [path for path in sorted(out.iterdir()) if path.is_file() and path.name != SUMS]
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (out / SUMS).write_text("".join(lines))
    return files


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("build/gpu-pack"), help="(default: %(default)s)")
    parser.add_argument("--architecture", type=int, default=90, help="of the GPU, as 80, 89, 90 (default: %(default)s)")
    parser.add_argument("--part-mib", type=int, default=51, help="size of a file (default: %(default)s)")
    parser.add_argument("--project-only", action="store_true", help="keep the parts of TensorFlow that are there")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.project_only and not any(args.out.glob(f"{PART}*")):
        print(f"error: {args.out} has no parts of TensorFlow; leave out --project-only", file=sys.stderr)
        return 2
    try:
        if not args.project_only:
            pack_tensorflow(args.out, args.architecture, args.part_mib)
        pack_project(args.out)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: not packed: {error}", file=sys.stderr)
        return 1
    files = write_sums(args.out)
    size = sum(path.stat().st_size for path in files) >> 20
    say(f"{len(files) + 1} files, {size} MiB, in {args.out}: bring them to the GPU machine and run bash {SCRIPT} there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
