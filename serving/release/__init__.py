"""Publish a new version of a model: compared with the served one, shadowed if asked for, promoted or rolled back."""
