"""The local adapter: SQLite, files and named pipes."""
