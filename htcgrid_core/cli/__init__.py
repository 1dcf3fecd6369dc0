"""The command line, ``htcgrid``: one file for each group of commands; everything heavy is imported inside them."""
