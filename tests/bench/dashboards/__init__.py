"""The console beside other engines' pages, at as many tasks, in the same Chromium."""
