"""Conversions, each in a process of its own: one that crashes takes no other with it.

What becomes of each is OK (made and verified), FAILED (and why) or SKIPPED (what this machine lacks).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from serving import targets as variants
from serving.convert import options as conversion_options
from serving.convert import verify
from serving.convert.options import Options
from serving.export_folder import ExportFolder, open_export
from serving.targets import Converted, Variant

MODULES = {"savedmodel": "savedmodel", "onnx": "onnx", "tensorrt": "tensorrt", "tf-trt": "tf_trt"}
PACKAGES = ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime", "tensorrt", "numpy")
NOTHING_MADE = 3
STATUS = {"OK": 0, "FAILED": 1, "SKIPPED": NOTHING_MADE}


def _module(variant: Variant) -> Any:
    return import_module(f"serving.convert.{MODULES[variant.format]}")


def preflight(variant: Variant) -> str | None:
    """Everything that keeps this machine from converting, or None."""
    if variant.why_not is not None:
        return variant.why_not
    return "; ".join(_module(variant).missing(variant)) or None


def versions() -> dict[str, str]:
    """Of the packages that take part, those that are installed."""
    installed = {d.metadata["Name"]: d.version for d in distributions()}
    return {"python": sys.version.split()[0]} | {name: installed[name] for name in PACKAGES if name in installed}


def _command(export: Path, made: Converted, options: Options, users: int) -> list[str]:
    return [
        sys.executable, "-m", "serving", "convert", "--in-this-process", "--export", str(export.absolute()),
        "--to", made.variant.format, "--precision", made.variant.precision,
        "--models", str(made.folder.parent.absolute()), "--users", str(users), *options.arguments(),
    ]  # fmt: skip


def _working(made: Converted, process: int) -> Path:
    """Where a process makes a conversion before it gets its name."""
    return made.folder.with_name(f".making-{process}")


def make(export: ExportFolder, made: Converted, options: Options, users: int) -> dict[str, Any]:
    """Convert and verify one variant in this process; writes its folder whole.

    Returns:
        The content of conversion.json: "status", "why", versions, seconds.
    """
    started = time.perf_counter()
    note: dict[str, Any] = {"variant": made.variant.name, "signature": made.variant.signature, "why": None}
    if (lacking := preflight(made.variant)) is not None:
        return note | {"status": "SKIPPED", "why": lacking}
    working = Converted(folder=_working(made, os.getpid()) / made.folder.name, variant=made.variant)
    try:
        working.folder.mkdir(parents=True)
        note |= _module(made.variant).convert(export, made.variant, working.model, options)
        note |= {"status": "OK", "export": export.identity, "options": vars(options), "versions": versions()}
        note["seconds"] = round(time.perf_counter() - started, 1)
        command = _command(export.folder, made, options, users)
        (working.folder / "reproduce.sh").write_text(f"#!/bin/sh\nexec {shlex.join(['python', *command[1:]])}\n")
        (working.folder / "conversion.json").write_text(json.dumps(note, indent=2) + "\n")
        result = verify.record(export, working, users=users)
        print(verify.line(result), flush=True)
        if not result["passed"]:
            note |= {"status": "FAILED", "why": result["why"]}
            (working.folder / "conversion.json").write_text(json.dumps(note, indent=2) + "\n")
        shutil.rmtree(made.folder, ignore_errors=True)
        working.folder.rename(made.folder)
    finally:
        shutil.rmtree(working.folder.parent, ignore_errors=True)
    return note


def in_own_process(export: ExportFolder, made: Converted, options: Options, users: int) -> dict[str, Any]:
    """Convert in a child process, whatever becomes of it."""
    note = {"variant": made.variant.name, "status": "FAILED", "why": None}
    if (lacking := made.variant.why_not) is not None:
        return note | {"status": "SKIPPED", "why": lacking}
    made.folder.parent.mkdir(parents=True, exist_ok=True)
    command = _command(export.folder, made, options, users)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said, complained = child.communicate()
    shutil.rmtree(_working(made, child.pid), ignore_errors=True)  # what a killed child leaves
    for text in reversed(said.splitlines()):
        if text.startswith('{"variant"'):
            return json.loads(text)
    died = f"status {child.returncode}" if child.returncode >= 0 else f"signal {-child.returncode}"
    last = next((t for t in reversed(complained.splitlines()) if t.strip()), "no message")
    (made.folder.parent / f"{made.variant.name}.log").write_text(said + complained)
    return note | {"why": f"ended with {died}: {last}"}


def table(notes: list[dict[str, Any]]) -> str:
    """A line for each conversion."""
    lines = []
    for note in notes:
        taken = f"  {note['seconds']:.1f} s" if "seconds" in note else ""
        lines.append(f"{note['variant']:<16} {note['status']:<8}{taken}{'  ' + note['why'] if note['why'] else ''}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", type=Path, required=True, help="RUN_DIR/export")
    parser.add_argument("--to", default="onnx", help="comma-separated: savedmodel, onnx, tensorrt, tf-trt")
    parser.add_argument("--precision", default="fp32", help="comma-separated: fp32, fp16, bf16, int8")
    parser.add_argument("--models", type=Path, help="folder to write to (default: converted/ beside the export)")
    parser.add_argument("--users", type=int, default=10_000, help="test users to verify with at most")
    parser.add_argument("--in-this-process", action="store_true", help="convert one variant, without a child")
    conversion_options.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """0 when something was made and nothing failed; 1 when something failed; 3 when all was skipped."""
    wanted = variants.every(args.to, args.precision)
    options = conversion_options.from_arguments(args)
    verify.check_users(args.users)
    export = open_export(args.export)
    folder = args.models or variants.default_folder(args.export)
    made = [Converted(folder=folder / v.name, variant=v) for v in wanted]
    if args.in_this_process:
        note = make(export, made[0], options, args.users)
        print(json.dumps(note))
        return STATUS[note["status"]]
    notes = []
    for each in made:
        print(f"{each.variant.name} ...", file=sys.stderr, flush=True)
        notes.append(in_own_process(export, each, options, args.users))
    print(table(notes))
    for each, note in zip(made, notes, strict=True):
        result = each.note("verify.json") if "seconds" in note else None  # else there is none of now
        if result is not None:
            print(verify.line(result))
    found = [note["status"] for note in notes]
    if "FAILED" in found:
        return 1
    return 0 if "OK" in found else NOTHING_MADE
