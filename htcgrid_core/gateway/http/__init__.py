"""The gateway over HTTP: the same use cases, asked of a server (``htcgrid serve``)."""
