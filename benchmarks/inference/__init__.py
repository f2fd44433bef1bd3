"""What answering costs: engines side by side, under load, and the best way to give them queries."""
