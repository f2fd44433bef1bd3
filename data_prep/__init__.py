"""From raw ratings to a data set on disk: sparse CSR matrices, memory-mapped, hashed, reproducible.

Lives here: reading source files, filtering, splitting, writing. Not here: TensorFlow, Horovod, anything of a model.
Command: ``python -m data_prep NAME --raw PATH --out DIR`` (``--help`` explains every option).

Shape legend of this package: R rows read, E events kept, U users, I items.
"""
