"""Ports: the small Protocols through which the services reach the world. Adapters implement them."""
