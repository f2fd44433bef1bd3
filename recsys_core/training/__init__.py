"""The training loop and its parts: step, precision, optimiser, schedules, checkpoints, actions. Knows no model."""
