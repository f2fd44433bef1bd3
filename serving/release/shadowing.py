"""Shadows: start one, report on it, promote it, or end it."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from serving.progress import step
from serving.release.switch import switch
from serving.triton import repository, retention
from serving.triton.shadow import settings as files
from serving.triton.shadow.settings import FAILED, RUNNING, ShadowReport, ShadowSettings

REJECTED = 1
READY_SECONDS = 60.0
"""How long `publish --shadow --url` waits until the candidate answers."""


def version(model: Path) -> int | None:
    """The version that is the shadow of a model; None if there is none, or its settings are damaged."""
    try:
        found = files.read(model)
    except ValueError:
        return None
    return None if found is None else found.version


def require_none(model: Path) -> None:
    """Raise ValueError if a model has a shadow."""
    if (found := files.read(model)) is not None:
        raise ValueError(
            f"{model}: version {found.version} is the shadow; --promote serves it, --drop-shadow ends it; publish then"
        )


def _required(args: argparse.Namespace) -> ShadowSettings:
    model = args.repository / args.name
    found = files.read(model)
    if found is None:
        raise ValueError(f"{model} has no shadow; start one with: publish --export RUN --shadow 0.1")
    return found


def start(args: argparse.Namespace, candidate: int, served: int) -> None:
    """Make a version the shadow; with --url, wait until the server has loaded it. The caller holds the lock."""
    model = args.repository / args.name
    repository.verify_integrity(model, candidate)
    found = files.start(model, candidate, served, args.shadow)
    print(f"{model}: version {candidate} answers {100 * args.shadow:g} % of the requests too, unseen; served: {served}")
    if args.url:
        step("waiting until the server has loaded it")
        print(_state_line(_wait_until_ready(model, found)))
    where = f"--repository {args.repository} --name {args.name}"
    print(f"see how it answers with: python -m serving publish {where} --shadow-report")


def _wait_until_ready(model: Path, found: ShadowSettings) -> ShadowReport:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        report = files.report(model, found)
        if report.states and not set(report.states) - {RUNNING, FAILED}:
            return report
        if time.monotonic() >= deadline:
            return report
        time.sleep(0.2)


def _state_line(report: ShadowReport) -> str:
    if not report.states:
        return "the server has not reported yet: it serves another folder, cannot write to it, or is not running"
    line = f"the candidate is {', '.join(report.states)} ({report.instances} instances)"
    return "; ".join([line, *report.reasons])


def _lines(report: ShadowReport) -> list[str]:
    """The report as a few lines."""
    summary, found = report.tally.summary(), report.settings
    requests = summary["requests"]
    lines = [
        f"version {found.version} beside version {found.served}, {100 * found.share:g} % of the requests since "
        f"{found.started_at}; {_state_line(report)}",
        f"requests: {requests['offered']:,} served, {requests['answered']:,} answered by the candidate too, "
        f"{requests['dropped']:,} dropped, {requests['failed']:,} failed",
    ]
    if report.tally.answered:
        lines.append(
            f"agreement: {100 * summary['overlap_at_k']:.2f} % of the items, the same first item in "
            f"{100 * summary['same_first_item']:.2f} %"
        )
        popular = summary["popular_answers"]
        lines.append(
            f"most popular items in place of the model's: served {100 * popular['served']:.2f} %, candidate "
            f"{100 * popular['candidate']:.2f} %"
        )
    lines += [_latency(name, values) for name, values in summary["milliseconds"].items() if values["mean"] is not None]
    return [*lines, *([f"last error: {summary['last_error']}"] if summary["last_error"] else [])]


def _latency(name: str, values: dict[str, Any]) -> str:
    return f"{name}: " + ", ".join(f"{label} {value:.2f} ms" for label, value in values.items())


def show_report(args: argparse.Namespace) -> int:
    """Print the report of the shadow."""
    report = files.report(args.repository / args.name, _required(args))
    print(json.dumps(report.as_json(), indent=2) if args.json else "\n".join(_lines(report)))
    return 0


def _why_not(report: ShadowReport) -> str | None:
    """Why a shadow is not promoted; None if nothing speaks against it."""
    if FAILED in report.states:
        return f"its process failed: {'; '.join(report.reasons)}"
    if report.tally.failed:
        return f"it failed in {report.tally.failed:,} requests: {report.tally.last_error}"
    if not report.tally.answered:
        return "it has answered no request yet"
    return None


def promote(args: argparse.Namespace) -> int:
    """Serve the version that is the shadow. The caller holds the lock.

    Raises:
        ValueError: there is no shadow, another version was served meanwhile, or the server did not load it.
    """
    model, found = args.repository / args.name, _required(args)
    served = repository.served_version(model)
    if served not in (found.served, found.version):
        raise ValueError(
            f"{model}: version {found.version} was shadowed beside version {found.served}, but {served} is served now; "
            "--drop-shadow, then publish it again"
        )
    report = files.report(model, found)
    print("\n".join(_lines(report)))
    if served != found.version and not args.force and (reason := _why_not(report)):
        print(f"not promoted: {reason} (--force, --drop-shadow)")
        return REJECTED
    line = switch(args.repository, args.name, found.version, args.url, args.load_seconds)
    files.remove(model)
    print(line)
    if removed := retention.remove_old_versions(args.repository, args.name, args.keep):
        print(f"removed old versions: {', '.join(map(str, removed))}")
    return 0


def drop(args: argparse.Namespace) -> int:
    """End the shadow. Its version stays until newer ones are published. The caller holds the lock."""
    model = args.repository / args.name
    if not files.remove(model):
        raise ValueError(f"{model} has no shadow")
    print(f"{model}: the shadow was ended; version {repository.served_version(model)} is served")
    return 0
