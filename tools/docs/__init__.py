"""The generated parts of the documentation: ``python -m tools.docs`` writes them, ``--check`` only compares."""
