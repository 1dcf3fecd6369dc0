"""Streams in: ranges of records become sessions, each record in one of them."""
