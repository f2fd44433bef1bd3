"""Splitting: filters, and which interactions are held out."""
