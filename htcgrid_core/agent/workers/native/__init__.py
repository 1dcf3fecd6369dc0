"""Native Python workers: long-lived processes, one a slot, that import handlers."""
