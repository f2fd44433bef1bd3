"""Runs the same requests in several processes on one device at the same time (NVIDIA's sampleMovieLensMPS)."""
