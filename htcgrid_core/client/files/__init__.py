"""Files of events and of results: a module for each format, and for what is common to them."""
