"""Grids that an earlier release left behind, and what this one makes of them."""
