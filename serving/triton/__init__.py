"""A real Triton server: its model repository, its configuration, starting it, and the model that runs in it."""
