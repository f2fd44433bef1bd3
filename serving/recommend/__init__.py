"""Recommendations for users and items of a data set, by their original ids."""
