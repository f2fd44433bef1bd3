"""Writing: the data set folder."""
