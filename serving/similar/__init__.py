"""Similar items: by item vectors, or by the weights of a linear model."""
