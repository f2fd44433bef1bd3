"""Measuring and reporting, shared by `benchmarks` and `load_study`: processes, records, tables, plots, reports.

Nothing here imports TensorFlow or a model, so that the command lines start fast.
"""
