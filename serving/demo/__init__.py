"""A page in the browser for people who try a model: what they like, recommendations with reasons, two models."""
