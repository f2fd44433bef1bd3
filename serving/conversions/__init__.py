"""One module a format: `missing()` says what it lacks here, `convert()` writes the model."""
