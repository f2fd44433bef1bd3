"""From an export to verified models in other formats; one module a format.

The module of a format has two functions: `missing_requirements` lists the packages and the hardware that this machine
lacks, `convert` writes the model.
"""
