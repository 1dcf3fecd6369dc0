"""Archives: sessions that have ended, whole, in a file that another grid reads."""
