"""Reading: whatever holds interactions, as blocks of rows."""
