"""Converts an export to other formats, and verifies the results.

Each format has a module with two functions: `missing_requirements` lists the packages and the hardware that this
machine lacks, and `convert` writes the model.
"""
