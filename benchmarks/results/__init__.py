"""What is kept of measurements, and how it is shown: records, tables, plots, the report, comparisons."""
