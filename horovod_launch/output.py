"""Running horovodrun without the prefix, as [0]<stderr>:, that it writes before every line of a rank."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

PREFIX = re.compile(rb"(?:^|(?<=\r))\[\d+(?:,\d+)?\]<(?:stdout|stderr)>:")


def run_without_prefix(line: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command, and pass its output on line by line without the prefix.

    Returns:
        Its exit status.
    """
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        pairs = ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))
        readers = [threading.Thread(target=_pass_on, args=pair, daemon=True) for pair in pairs]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        return process.wait()


def _pass_on(source: IO[bytes], target: IO[bytes]) -> None:
    for text in source:
        target.write(PREFIX.sub(b"", text))
        target.flush()
