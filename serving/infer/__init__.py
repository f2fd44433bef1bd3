"""`python -m serving infer`: the same requests in several processes on one device at the same time."""
