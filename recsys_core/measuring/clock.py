"""The clock of this machine's cores, where Linux tells it: a core that is hot or saves power computes more slowly."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

SPIN_S = 0.05
"""Of computing before the clock is read: an idle core saves power, which says nothing of its clock at work."""
CORES = Path("/sys/devices/system/cpu")
CLOCK = "cpufreq/scaling_cur_freq"
"""In kHz, as the base frequency."""


def share_of_base(cores: Path = CORES) -> float | None:
    """The clock of the fastest core over the highest base clock; None where one is not told, as in virtual machines.

    Turbo clocks are above 1, and fewer busy cores have higher ones: only a clock below the base is unusual.
    """
    base = _numbers(cores, "cpufreq/base_frequency") or [
        1_000 * mhz for mhz in _numbers(cores, "acpi_cppc/nominal_freq")
    ]
    if not any(base) or not _numbers(cores, CLOCK):
        return None
    end = time.perf_counter() + SPIN_S
    while time.perf_counter() < end:
        pass
    return max(_numbers(cores, CLOCK)) / max(base)


def throttled(cores: Path = CORES) -> int | None:
    """How often cores were slowed down since the start of the machine because they were hot; None if not told."""
    found = _numbers(cores, "thermal_throttle/core_throttle_count")
    return sum(found) if found else None


def _numbers(cores: Path, name: str) -> list[int]:
    found = []
    for path in cores.glob(f"cpu[0-9]*/{name}"):
        with suppress(OSError, ValueError):  # a core that is off
            found.append(int(path.read_text()))
    return found
