"""A deterministic simulator: the real services and agents, in virtual time, over faults, from one seed."""
