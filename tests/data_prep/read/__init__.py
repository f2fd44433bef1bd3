"""Tests of the readers, in the order of data_prep/read."""
