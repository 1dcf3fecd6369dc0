"""``python -m htcgrid_core``: the command line, where ``htcgrid`` is not on the PATH."""

from htcgrid_core.cli.main import main

if __name__ == "__main__":
    main()
