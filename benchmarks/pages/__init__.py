"""Pages made from the committed records in `results/`: docs/results.md, tables of other pages, and the HTML page."""
