"""Disk: what processes of one machine keep in a folder that they share."""
