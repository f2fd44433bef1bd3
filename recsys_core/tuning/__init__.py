"""The search for settings: trials of a preset, judged on validation users. Knows no model."""
