"""Tables of papers, reproduced by running the published experiments."""
