"""Tests and measurements of one GPU, in at most eight minutes: a record and its tables.

The tests of the models run first. Then come the speed of training (beside compiled PyTorch on the same card),
evaluation, inference, a whole run, and the time of each kernel. Each part is a process of its own with a time limit: a
part that fails or hangs does not end the others. The results file is written after each part. --cpu tries every part at
small sizes where there is no GPU; its figures are of no use.
"""

from benchmarks.gpu.command import add_arguments, main

__all__ = ["add_arguments", "main"]
