"""Examples: the Python API in a few lines, and a model that is not part of the project."""
