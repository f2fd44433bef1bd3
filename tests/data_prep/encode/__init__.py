"""Tests of data_prep.encode."""
