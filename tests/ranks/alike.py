"""A program for ranks: variables of one seed are left as they are, and those that differ become rank 0's.

python -m tests.ranks.alike
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from recsys_core import devices
from recsys_core.world import session

with session() as ranks:
    devices.configure(ranks)
    same = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3), name="same")
    near = tf.Variable(np.float32(1 + ranks.rank * 2**-23), name="near")  # differs in the last bit
    sent: list[str] = []
    broadcast = ranks.broadcast_variables

    def noted(variables: Any) -> None:
        sent.extend(variable.name for variable in variables)
        broadcast(variables)

    ranks.broadcast_variables = noted  # type: ignore[method-assign]
    ranks.make_alike([same, near])
    values = ranks.gather((sent, near.numpy().tolist(), same.numpy().tolist()))
    if ranks.is_rank0:
        print(values, flush=True)
