"""One conversion: convert an export to a target, verify the result, and write its folder.

A conversion ends with one of three statuses: OK (converted and verified), FAILED (with the reason) or SKIPPED (with
what this machine lacks).
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from serving.convert import verify
from serving.convert.options import Options
from serving.engines import providers
from serving.export_folder import ExportFolder
from serving.progress import END, step
from serving.targets import Artifact, Target

CONVERTERS = {"savedmodel": "savedmodel", "onnx": "onnx", "tensorrt": "tensorrt", "tf-trt": "tf_trt"}
"""Format -> its module in this folder."""
PACKAGES = ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "numpy")


def _converter(target: Target) -> Any:
    return import_module(f"serving.convert.{CONVERTERS[target.format]}")


def unavailable_reason(target: Target) -> str | None:
    """Why this machine cannot convert to a target; None if it can."""
    if target.unsupported_reason is not None:
        return target.unsupported_reason
    return "; ".join(_converter(target).missing_requirements(target)) or None


def package_versions() -> dict[str, str]:
    """Versions of Python and of those PACKAGES that are installed."""
    installed = {d.metadata["Name"]: d.version for d in distributions()}
    return {"python": sys.version.split()[0]} | {name: installed[name] for name in PACKAGES if name in installed}


def _command(export: ExportFolder, artifact: Artifact, options: Options, users: int) -> list[str]:
    """The command line that makes one artifact in its own process."""
    return [
        sys.executable, "-m", "serving", "convert", "--in-this-process", "--export", str(export.folder.absolute()),
        "--to", artifact.target.format, "--precision", artifact.target.precision,
        "--models", str(artifact.folder.parent.absolute()), "--users", str(users), *options.to_flags(),
        *(["--data", str(export.data.absolute())] if export.data else []),
    ]  # fmt: skip


def _temporary_folder(artifact: Artifact, process: int) -> Path:
    """The folder in which a process makes an artifact before it renames it to its final name."""
    return artifact.folder.with_name(f".making-{process}")


def convert_in_this_process(export: ExportFolder, artifact: Artifact, options: Options, users: int) -> dict[str, Any]:
    """Convert to one target and verify the result; replaces the artifact's folder as a whole.

    Args:
        users: largest number of test users to verify with.

    Returns:
        The content of conversion.json: "status", "why" it failed, versions, seconds.
    """
    started = time.perf_counter()
    target = artifact.target
    note: dict[str, Any] = {"variant": target.name, "signature": target.signature, "why": None}
    if (reason := unavailable_reason(target)) is not None:
        return note | {"status": "SKIPPED", "why": reason}
    temporary = Artifact(folder=_temporary_folder(artifact, os.getpid()) / artifact.folder.name, target=target)
    note_file = temporary.folder / "conversion.json"
    try:
        temporary.folder.mkdir(parents=True)
        step(f"{target.name}: loading TensorFlow and converting the exported model")
        note |= _converter(target).convert(export, target, temporary.model, options)
        limits = note.get("limits", {})
        note["limits"] = {"batch": limits.get("batch"), "history": limits.get("history"), "k": export.top_k}
        note |= {"status": "OK", "export": export.identity, "options": vars(options), "versions": package_versions()}
        note["seconds"] = round(time.perf_counter() - started, 1)
        command = _command(export, artifact, options, users)
        (temporary.folder / "reproduce.sh").write_text(f"#!/bin/sh\nexec {shlex.join(['python', *command[1:]])}\n")
        note_file.write_text(json.dumps(note, indent=2) + "\n")
        for provider in providers.to_verify(temporary, options.provider):
            result = verify.verify_and_record(export, temporary, users=users, provider=provider)
            print(verify.summary(result), flush=True)
            if not result["passed"]:
                note |= {"status": "FAILED", "why": result["why"]}
                note_file.write_text(json.dumps(note, indent=2) + "\n")
        shutil.rmtree(artifact.folder, ignore_errors=True)
        temporary.folder.rename(artifact.folder)
    finally:
        shutil.rmtree(temporary.folder.parent, ignore_errors=True)
    return note


def _pass_on_steps(child: subprocess.Popen[str], name: str) -> str:
    """Print the progress lines of a child until it ends; returns all that it wrote to stderr."""
    assert child.stderr is not None
    lines = []
    for line in child.stderr:
        lines.append(line)
        if line.startswith(f"{name}: ") and line.endswith(f"{END}\n"):
            print(line, end="", file=sys.stderr, flush=True)
    child.wait()
    return "".join(lines)


def convert_in_child_process(export: ExportFolder, artifact: Artifact, options: Options, users: int) -> dict[str, Any]:
    """Convert to one target in a child process, so that a crash ends the child only.

    Returns:
        As `convert_in_this_process`; status FAILED if the child was killed or printed no result.
    """
    note = {"variant": artifact.target.name, "status": "FAILED", "why": None}
    if (reason := artifact.target.unsupported_reason) is not None:
        return note | {"status": "SKIPPED", "why": reason}
    artifact.folder.parent.mkdir(parents=True, exist_ok=True)
    command = _command(export, artifact, options, users)
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True)
        errors = _pass_on_steps(child, artifact.target.name)
        out.seek(0)
        output = out.read()
    shutil.rmtree(_temporary_folder(artifact, child.pid), ignore_errors=True)  # a killed child does not remove it
    for text in reversed(output.splitlines()):
        if text.startswith('{"variant"'):
            return json.loads(text)
    ended = f"status {child.returncode}" if child.returncode >= 0 else f"signal {-child.returncode}"
    last = next((t for t in reversed(errors.splitlines()) if t.strip()), "no message")
    (artifact.folder.parent / f"{artifact.target.name}.log").write_text(output + errors)
    return note | {"why": f"ended with {ended}: {last}"}
