"""The demo: a real workflow engine runs the example on the embedded grid, and its report is shown."""
