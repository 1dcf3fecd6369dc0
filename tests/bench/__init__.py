"""The benchmark: the grid and its peers, measured in the same run on the same machine.

Run it with ``python -m tests.bench``. Every case runs in a process tree of its own; nothing here asserts an
absolute time, and every result of every task is compared with what it should be.
"""
