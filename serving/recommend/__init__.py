"""Recommendations for requests that hold original user and item ids."""
