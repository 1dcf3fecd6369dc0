"""Clients in other languages, on a real server."""
