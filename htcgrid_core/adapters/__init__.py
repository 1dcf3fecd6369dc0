"""Adapters: one implementation of the ports for each kind of grid."""
