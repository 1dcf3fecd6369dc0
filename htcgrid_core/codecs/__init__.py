"""Codecs: values, packed payloads, checksums and signatures."""
