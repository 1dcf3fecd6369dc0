"""Data in and out: tables, folders and databases as events, and as places for results."""
