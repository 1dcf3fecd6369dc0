"""The embedded grid: a directory, and agents that come when there is work and leave when there is none."""
