"""Which items of a history carry a recommendation."""
