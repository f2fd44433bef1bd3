"""Targets of load: engine processes, a thread, a Triton server, a simulated engine, and the dispatcher before them."""
