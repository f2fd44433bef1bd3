"""A program for ranks: compares them, then opens data sets ({rank} in a path is the rank), and prints each error once.

python -m tests.ranks.agree FOLDER...
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from recsys_core import agreement, devices
from recsys_core.errors import SharedError
from recsys_core.world import World, session


def said(work: Callable[[], object], world: World) -> None:
    """Print the error that all ranks raise."""
    try:
        work()
        text = "no error"
    except SharedError as error:
        text = str(error)
    texts = world.gather(text)
    if world.is_rank0:
        print("all ranks:" if len(set(texts)) == 1 else f"different: {texts}", texts[0], flush=True)


with session() as ranks:
    said(partial(devices.configure, ranks), ranks)
    for word in sys.argv[1:]:
        said(partial(agreement.opened, Path(word.format(rank=ranks.rank)), "", ranks), ranks)
