"""Runs in a tracking server, beside the folder of the run, which stays the record."""
