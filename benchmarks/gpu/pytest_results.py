"""A pytest plugin that prints the number of tests that passed and failed so far, for a reader that may end pytest."""

from __future__ import annotations

import json
import time
from typing import Any

from benchmarks.gpu.running import SO_FAR

EVERY_S = 2.0
MOST_NAMES = 60
"""Names of failed tests that are recorded."""


class Counts:
    """Counts reports of tests. A test passes once; its preparation or its end may fail besides."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._passed = self._skipped = 0
        self._failures: list[str] = []
        self._printed = 0.0

    def values(self) -> dict[str, Any]:
        """The fields of the record. Counts are floats: whole numbers would be settings."""
        return {
            "kind": "gpu-tests",
            "passed": float(self._passed),
            "failed_tests": float(len(self._failures)),
            "skipped": float(self._skipped),
            "failures": self._failures[:MOST_NAMES],
        }

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count a report; print at most every two seconds."""
        if report.failed and report.nodeid not in self._failures:
            self._failures.append(report.nodeid)
        elif report.passed and report.when == "call":
            self._passed += 1
        elif report.skipped:
            self._skipped += 1
        if time.monotonic() - self._printed > EVERY_S:
            self._print()

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be imported is a failure."""
        if report.failed:
            self._failures.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(SO_FAR + json.dumps(self.values()))


def pytest_configure(config: Any) -> None:
    """Count in the main process only: with pytest-xdist it receives the reports of the others."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Counts(config), "counts-of-tests")
