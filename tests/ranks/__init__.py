"""Tests on real ranks that differ, are silent, or get signals."""
