"""Services: one use case a file, over the ports."""
