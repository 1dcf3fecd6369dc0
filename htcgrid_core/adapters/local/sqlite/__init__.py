"""The session store and the queue on SQLite: one database in the grid's directory."""
