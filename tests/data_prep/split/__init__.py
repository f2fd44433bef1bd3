"""Tests of data_prep.split."""
