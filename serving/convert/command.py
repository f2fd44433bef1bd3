"""Convert an export to one or more formats and precisions, each in its own process, and verify the results.

Each conversion ends with OK (converted and verified), FAILED (with the reason) or SKIPPED (with what this machine
lacks). The models are written to converted/ beside the export.

python -m serving convert --export runs/first --precision fp32,fp16,int8
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from serving import targets
from serving.command_help import EXPORT_HELP, CommandParser
from serving.convert import conversion, options, verify
from serving.data_set import DATA_HELP
from serving.engines import providers
from serving.export_folder import open_export
from serving.progress import step
from serving.targets import PROVIDERS, Artifact

NOTHING_MADE = 3
EXIT_STATUS = {"OK": 0, "FAILED": 1, "SKIPPED": NOTHING_MADE}


def format_table(notes: list[dict[str, Any]]) -> str:
    """One line for each conversion: target, status, seconds, reason."""
    lines = []
    for note in notes:
        seconds = f"  {note['seconds']:.1f} s" if "seconds" in note else ""
        lines.append(f"{note['variant']:<16} {note['status']:<8}{seconds}{'  ' + note['why'] if note['why'] else ''}")
    return "\n".join(lines)


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    add, add_rare = parser.add_argument, parser.add_rare
    add("--to", metavar="FORMAT,...", default="onnx",
        help="savedmodel, onnx, tensorrt, tf-trt (default: %(default)s)")  # fmt: skip
    add("--precision", metavar="PRECISION,...", default="fp32", help="fp32, fp16, bf16, int8 (default: %(default)s)")
    add_rare("--models", type=Path, help="folder to write to (default: converted/ beside the export)")
    add_rare("--users", type=int, default=10_000, help="largest number of test users to verify with (default: 10,000)")
    add_rare("--data", metavar="D", type=Path, help=DATA_HELP)
    add_rare("--in-this-process", action="store_true", help="convert to one target, without a child process")
    options.add_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """0 if a conversion is OK and none failed; 1 if one failed; 3 if all were skipped."""
    wanted = targets.parse_targets(args.to, args.precision)
    chosen_options = options.from_arguments(args)
    verify.check_users(args.users)
    for target in wanted:
        providers.check_name(target, args.provider)
    if (reason := providers.missing_from_machine(args.provider)) is not None:
        raise ValueError(f"--provider {args.provider}: {reason}")
    export = open_export(args.export, args.data)
    folder = args.models or targets.default_folder(export.folder)
    artifacts = [Artifact(folder=folder / target.name, target=target) for target in wanted]
    if args.in_this_process:
        note = conversion.convert_in_this_process(export, artifacts[0], chosen_options, args.users)
        print(json.dumps(note))
        return EXIT_STATUS[note["status"]]
    notes = []
    for artifact in artifacts:
        step(f"{artifact.target.name}: starting a process")
        notes.append(conversion.convert_in_child_process(export, artifact, chosen_options, args.users))
    print(format_table(notes))
    for artifact, note in zip(artifacts, notes, strict=True):
        # A conversion without "seconds" wrote nothing: a verify.json in its folder is of an earlier conversion.
        for provider in PROVIDERS[artifact.target.format] if "seconds" in note else ():
            if (result := artifact.read_json(artifact.verification_file(provider))) is not None:
                print(verify.summary(result))
    statuses = [note["status"] for note in notes]
    if "OK" in statuses:
        usable = notes[statuses.index("OK")]["variant"]
        print(f"use it with: python -m serving recommend --export {args.export} --model {usable}")
    if "FAILED" in statuses:
        return EXIT_STATUS["FAILED"]
    return EXIT_STATUS["OK"] if "OK" in statuses else NOTHING_MADE
