"""Where data come from: known data sets, downloads, generated ratings."""
