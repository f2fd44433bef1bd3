"""Encoding: ids of any type become indices, and rows become the interactions of each user."""
