"""Blobs on S3: large payloads, functions and shared inputs, with a cache on an agent's disk."""
