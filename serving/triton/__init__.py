"""Triton: the model repository, its configuration, the Python backend's model, the server and a client."""
