"""Whole trainings of other libraries beside ours: `inputs` they read, a program for each, and what they reach."""
