"""Grids on AWS: the composition root of ``aws://``, its clients, agents, reconciler and bootstrap."""
