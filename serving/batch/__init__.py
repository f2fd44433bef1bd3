"""Recommendations for all users, or for the users of a file, written as Parquet, CSV or JSON lines."""
