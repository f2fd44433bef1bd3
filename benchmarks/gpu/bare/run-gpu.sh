#!/usr/bin/env bash
# Unpack TensorFlow and the project, which lie beside this script, and run `python -m benchmarks gpu`.
# Arguments are those of `python -m benchmarks gpu`. UNPACK_TO is the folder (/tmp/recsys-gpu), PYTHON a Python 3.12.
set -euo pipefail
parts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
to=${UNPACK_TO:-/tmp/recsys-gpu}
python=$(command -v "${PYTHON:-python3}") || { echo "error: no ${PYTHON:-python3} here; give a Python 3.12 with PYTHON=PATH" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' ||
    { echo "error: $python is $("$python" -V), expected Python 3.12: give one with PYTHON=PATH" >&2; exit 2; }
(cd "$parts" && sha256sum --check --quiet SHA256SUMS) ||
    { echo "error: a file in $parts is missing or was damaged (see above): bring it again" >&2; exit 2; }

unpacked() {
    if command -v xz >/dev/null; then xz --decompress --stdout --threads=0
    else "$python" -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer)'; fi
}

site=$to/site
if ! cmp --silent "$parts/SHA256SUMS" "$site/.unpacked"; then
    echo "unpacking into $to ..." >&2
    rm -rf "$site" "$to/app"
    mkdir -p "$site" "$to/app"
    cat "$parts"/tensorflow-part-* | unpacked | tar -x -C "$site"
    unpacked <"$parts/project.tar.xz" | tar -x -C "$to/app"
    cp "$parts/SHA256SUMS" "$site/.unpacked"
fi
libraries=$(printf '%s:' "$site"/nvidia/*/lib)  # each with a colon behind it
export PYTHONPATH=$site:$to/app
export LD_LIBRARY_PATH=${libraries%:}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PATH=$site/nvidia/cuda_nvcc/bin:$PATH
export XLA_FLAGS=--xla_gpu_cuda_data_dir=$site/nvidia/cuda_nvcc
export PROJECT_COMMIT=$(cat "$to/app/.commit")
cd "$to/app"
exec "$python" -m benchmarks gpu --torch-python "$python" "$@"
