"""The documentation: pages, and the programs that build the site from them (`python -m docs.build`)."""
