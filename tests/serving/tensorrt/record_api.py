"""Records the Python API of a TensorRT version from the bindings of its wheel, which hold no library of TensorRT.

The bindings are linked to libnvinfer and its parser. Empty libraries that only have the names of their functions take
their place, so that the module can be imported and its classes, signatures and enums can be read. Nothing can be built.

pip download --no-deps tensorrt-cu12-bindings==11.4.0.106
python -m tests.serving.tensorrt.record_api tensorrt_cu12_bindings-11.4.0.106-*.whl tests/serving/tensorrt/api/11.4.json
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

CLASSES = (
    *("Builder", "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "ILogger", "INetworkDefinition"),
    *("IOptimizationProfile", "ITensor", "ITimingCache", "Logger", "OnnxParser", "ParserError", "Runtime"),
)
ENUMS = ("BuilderFlag", "DataType", "DeviceType", "MemoryPoolType", "NetworkDefinitionCreationFlag", "TensorIOMode")
FUNCTIONS = ("nptype", "volume")
OF_TENSORRT = re.compile(r"_INTERNAL$|^getNv|PluginRegistry$|^initLib|^_ZN.*nv(caffe|uff)parser")
READ = "import sys; from tests.serving.tensorrt.record_api import main; main(sys.argv[1:])"


def write_empty_libraries(bindings: Path, folder: Path) -> None:
    """Write a library for each one of TensorRT that the bindings are linked to; the first has all functions."""
    linked = subprocess.run(["readelf", "-d", bindings], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(["nm", "-D", "-u", bindings], capture_output=True, text=True, check=True).stdout
    names = [n for n in (line.split()[-1] for line in symbols.splitlines()) if OF_TENSORRT.search(n)]
    code = "".join(f'void* f{k}(void) __asm__("{n}"); void* f{k}(void) {{ return 0; }}\n' for k, n in enumerate(names))
    for library in re.findall(r"NEEDED.*\[(libnv[^\]]+)\]", linked):
        words = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", folder / library, f"-Wl,-soname,{library}"]
        subprocess.run(words, input=code, text=True, check=True)
        code = ""


def signatures(function: Any, name: str) -> list[str]:
    """The lines of the documentation that pybind11 writes for each overload, without module names."""
    lines = [re.sub(r"^\d+\. ", "", line.strip()) for line in (function.__doc__ or "").splitlines()]
    found = [re.sub(r"[a-z_]+\.(tensorrt\.|SupportsInt|Buffer)", r"\1", t) for t in lines if t.startswith(f"{name}(")]
    return sorted({t.replace("tensorrt.", "") for t in found if "*args" not in t})


def api(trt: Any) -> dict[str, Any]:
    """The attributes of the classes (signatures of methods, null for the others), and the members of the enums."""
    classes = {}
    for name in CLASSES:
        members = [m for m in dir(getattr(trt, name)) if not m.startswith("_") or m == "__init__"]
        classes[name] = {m: signatures(getattr(getattr(trt, name), m), m) or None for m in members}
    enums = {name: {n: int(v) for n, v in getattr(trt, name).__members__.items()} for name in ENUMS}
    return {
        "version": trt.__version__, "classes": classes, "enums": enums,
        "functions": [name for name in FUNCTIONS if hasattr(trt, name)],
    }  # fmt: skip


def main(words: list[str]) -> None:
    """Unpack a wheel and record it in a process that finds the empty libraries."""
    if len(words) == 1:
        import tensorrt_bindings

        Path(words[0]).write_text(json.dumps(api(tensorrt_bindings), indent=1) + "\n")
        return
    wheel, out = map(Path, words)
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        write_empty_libraries(next(Path(folder).rglob("tensorrt.so")), Path(folder))
        found = os.pathsep.join((folder, os.getcwd()))
        environment = os.environ | {"LD_LIBRARY_PATH": folder, "PYTHONPATH": found}
        subprocess.run([sys.executable, "-c", READ, out], check=True, env=environment)


if __name__ == "__main__":
    main(sys.argv[1:])
