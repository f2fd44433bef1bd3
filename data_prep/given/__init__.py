"""Files that say themselves what is held out."""
